"""Whoever listens out there cannot hold us up, fill us up, or send us elsewhere."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.wire import (
    MAX_BODY,
    GarbledError,
    Place,
    RefusedError,
    Resolver,
    Response,
    UnreachableError,
    Wire,
    in_thread,
    left_alone,
)
from reading.addresses import is_inside, refusal
from tests.scenarios.tls import certificate
from tests.unit.asking import MANY
from tests.unit.peers import Handler, pages, saying, serving, silent


async def get(handler: Handler, seconds: float = 5.0) -> Response:
    async with serving(handler) as port, asyncio.timeout(seconds):
        return await Wire(Place("http", "127.0.0.1", port), ("127.0.0.1",)).ask("GET", "/")


def dripping(every: float) -> Handler:
    """One byte of an HTTP response at a time."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every)

    return handler


def endless(head: bytes, chunk: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(chunk)
            await writer.drain()

    return handler


@pytest.mark.parametrize("handler", [dripping(0.05), silent()], ids=["drip", "tarpit"])
def test_slow_peer_ends_with_the_time_limit(handler: Handler) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(get(handler, seconds=0.3))
    assert time.monotonic() - started < 4


def test_only_the_first_part_of_an_endless_body_is_read() -> None:
    response = asyncio.run(get(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096)))
    assert len(response.body) == MAX_BODY


def test_compressed_bomb_is_left_compressed() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    tracemalloc.start()
    response = asyncio.run(get(saying(head + bomb)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert response.body == bomb[: len(response.body)]
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 999999 no\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
    ],
    ids=["a long header", "many headers", "ssh", "nothing", "bad status", "tls alert"],
)
def test_what_is_not_http_is_said_to_be_so(data: bytes) -> None:
    with pytest.raises(GarbledError):
        asyncio.run(get(saying(data)))


def test_greeting_of_another_protocol_is_not_waited_out() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        await asyncio.Event().wait()

    with pytest.raises(GarbledError):
        asyncio.run(get(greet))


def test_interim_responses_without_end_are_not_waited_for() -> None:
    with pytest.raises(GarbledError):
        asyncio.run(get(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)))


def test_redirect_is_returned_and_not_followed() -> None:
    collected: list[str] = []

    async def run() -> Response:
        async with serving(pages({}, collected)) as elsewhere:
            target = {"Location": f"http://127.0.0.1:{elsewhere}/"}
            return await get(pages({"GET /": (302, target, "")}))

    assert asyncio.run(run()).status == 302
    assert collected == []


def test_request_carries_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    seen: list[str] = []
    asyncio.run(get(pages({"GET /": (200, {}, "ok")}, seen)))
    names = {line.partition(":")[0].lower() for line in seen[0].split("\r\n")[1:] if line}
    assert names == {"host", "user-agent", "accept-encoding", "connection"}


def test_nobody_home_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = Place("http", "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(UnreachableError, match="refused"):
            asyncio.run(Wire(place, ("127.0.0.1",)).ask("GET", "/"))


def test_plain_server_behind_https_is_unreachable() -> None:
    async def run() -> None:
        async with serving(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port, asyncio.timeout(5):
            await Wire(Place("https", "127.0.0.1", port), ("127.0.0.1",)).ask("GET", "/")

    with pytest.raises(UnreachableError, match="TLS"):
        asyncio.run(run())


def test_a_certificate_of_a_named_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    async def run(authorities: str | None) -> Response:
        tls = certificate(tmp_path, "127.0.0.1")
        async with serving(pages({"GET /": (200, {}, "ok")}), tls) as port, asyncio.timeout(5):
            text = (tmp_path / authorities).read_text() if authorities else None
            return await Wire(Place("https", "127.0.0.1", port), ("127.0.0.1",), text).ask("GET", "/")

    assert asyncio.run(run("cert.pem")).body == b"ok"
    with pytest.raises(UnreachableError, match="TLS: self-signed certificate"):
        asyncio.run(run(None))


def test_second_address_is_tried_where_the_first_refuses_and_then_kept() -> None:
    async def run() -> list[int]:
        async with serving(pages({"GET /": (200, {}, "")})) as port:
            wire = Wire(Place("http", "localhost", port), ("::1", "127.0.0.1"))
            first = await wire.ask("GET", "/")
            return [first.status, len(wire._addresses)]

    assert asyncio.run(run()) == [200, 1]


def test_name_is_resolved_once() -> None:
    asked: list[str] = []

    def lookup(host: str) -> tuple[str, ...]:
        asked.append(host)
        return (f"10.0.0.{len(asked)}",)

    async def run() -> list[tuple[str, ...]]:
        resolver = Resolver(lookup)
        return [await resolver.addresses("name"), *await asyncio.gather(*(resolver.addresses("name") for _ in "ab"))]

    assert asyncio.run(run()) == [("10.0.0.1",)] * 3
    assert asked == ["name"]


def test_name_that_never_resolves_ends_with_the_time_limit() -> None:
    release = threading.Event()

    def lookup(host: str) -> tuple[str, ...]:
        release.wait(30)
        return ("127.0.0.1",)

    async def run() -> None:
        async with asyncio.timeout(0.2):
            await Resolver(lookup).addresses("name")

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert time.monotonic() - started < 4
    release.set()


@pytest.mark.parametrize(
    "addresses", [("169.254.169.254",), ("10.0.0.1", "169.254.169.254"), ("::ffff:169.254.169.254",)]
)
def test_name_that_leads_to_metadata_is_refused_whole(addresses: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError):
        asyncio.run(Resolver(lambda host: addresses).addresses("rebound"))


def test_name_without_address_is_unreachable() -> None:
    def lookup(host: str) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(UnreachableError):
        asyncio.run(Resolver(lookup).addresses("nowhere"))


def test_failure_in_a_thread_reaches_whoever_waits() -> None:
    def work() -> None:
        raise LookupError("told")

    async def run() -> None:
        await in_thread(work)

    with pytest.raises(LookupError, match="told"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "not an address",
    ],
)
def test_forbidden_addresses(address: str) -> None:
    assert refusal(address) is not None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "10.0.0.5", "192.168.1.1", "8.8.8.8", "2606:4700::1111"],
)
def test_allowed_addresses(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("10.1.2.3", True),
        ("fd12::1", True),
        ("8.8.8.8", False),
        ("name", False),
    ],
)
def test_inside_is_loopback_or_private(host: str, inside: bool) -> None:
    assert is_inside(host) is inside


@MANY
@given(st.ip_addresses().map(str) | st.text(max_size=60))
def test_any_text_has_an_opinion(text: str) -> None:
    assert refusal(text) is None or isinstance(refusal(text), str)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda data: b"HTTP/1.1 200 OK\r\n" + data))
def test_any_bytes_are_a_response_or_a_wire_error(data: bytes) -> None:
    try:
        response = asyncio.run(get(saying(data)))
    except (GarbledError, UnreachableError):
        return
    assert 100 <= response.status <= 999


def test_what_is_left_alone_does_not_vanish_in_the_middle_of_its_work() -> None:
    async def waits_for_what_only_it_knows() -> None:
        await asyncio.get_running_loop().create_future()

    async def run() -> list[str]:
        left_alone(asyncio.create_task(waits_for_what_only_it_knows(), name="left alone"))
        await asyncio.sleep(0)
        gc.collect()
        return [task.get_name() for task in asyncio.all_tasks()]

    assert "left alone" in asyncio.run(run())
