"""Attacks from outside on a production stack, plain and by TLS: whoever asks properly is answered all the while.

All of it is bounded, and stays in the engine's own network namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.certificates import make_pair
from tests.engine.project import Done, Project
from tests.journeys.attacked import ALICE, MALLORY, authorized, held, project, run
from tests.journeys.attacking import (
    CLIENTS,
    HOST,
    Answer,
    Door,
    Outcome,
    container,
    kept_open,
    steadily,
    together,
    vitals,
)
from tests.waiting import until

__all__ = ["held", "project"]

pytestmark = pytest.mark.engine

RUNS = "/api/agents/ai-engineer/runs"
DETAILED = "/api/health/detailed"
SECRET = "query-of-the-attacks-5f21"
PAIR = make_pair(HOST)


@pytest.fixture(scope="module", params=["plain", "tls"])
def door(request: pytest.FixtureRequest, project: Project, deployed: Done) -> Door:
    """The way in; what is tested by TLS is tested on the same stack, deployed again with a certificate."""
    if request.param == "plain":
        return Door(project)
    PAIR.write(project.root)
    for key, value in {"tlsCertificate": "tls.pem", "tlsKey": "tls.key"}.items():
        assert project.pulumi("config", "set", key, value).code == 0
    done = project.operate("up")
    assert done.code == 0, done.text
    return Door(project, PAIR)


plain_only = pytest.mark.parametrize("door", ["plain"], indirect=True, scope="module")


def body_of(size: int) -> bytes:
    return json.dumps({"input": "x" * size}).encode()


def upload(door: Door, headers: dict[str, str], source: str, *, chunked: bool) -> socket.socket:
    """The connection of a body of 1 MiB that stops short of its end."""
    connection = door.connected(source)
    # nginx quotes the request in its error log when it runs out of room.
    lines = [f"POST {RUNS}?token={SECRET} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append("Transfer-Encoding: chunked" if chunked else "Content-Length: 1048576")
    piece = b"x" * 1_040_000
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    # Refused and closed before all is sent is what is wanted.
    with contextlib.suppress(OSError):
        connection.sendall(b"fde80\r\n" + piece if chunked else piece)
    return connection


@pytest.mark.parametrize("sources", [CLIENTS[:1], CLIENTS], ids=["one address", "many addresses"])
@pytest.mark.parametrize("headers", [{}, authorized("not-a-token-of-this-stack")], ids=["none", "wrong"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_uploads_without_a_token_take_no_room(
    chunked: bool, headers: dict[str, str], sources: tuple[str, ...], door: Door
) -> None:
    """Three times as many as nginx has room for."""
    tasks = [partial(upload, door, headers, sources[number % len(sources)], chunked=chunked) for number in range(48)]
    with kept_open(together(tasks)):
        answers = [run_large(door) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4, answers


def run_large(door: Door) -> Answer:
    headers = {**authorized(ALICE), "Content-Type": "application/json"}
    return door.ask(f"{RUNS}?token={SECRET}", "POST", body_of(150_000), headers)


def said(line: str, *headers: str, host: str | None = HOST) -> bytes:
    """A request as it goes over the wire, without a body."""
    named = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([line, *named, *headers, "", ""]).encode("latin-1")


# What nginx or the application refuses by itself. Each has to be told in the API's shape.
POST, BEARER = f"POST {RUNS} HTTP/1.1", f"Authorization: Bearer {ALICE}"
REFUSED = {
    "no protocol at all": b"\x00\x01\x02\x03\r\n\r\n",
    "a method with spaces": said("GE T /health HTTP/1.1"),
    "no Host": said("GET /health HTTP/1.1", host=None),
    "two Hosts": said("GET /health HTTP/1.1", "Host: other"),
    "a Host that is none": said("GET /health HTTP/1.1", host="a b"),
    "HTTP/9.9": said("GET /health HTTP/9.9"),
    "a URI of 9 KiB": said(f"GET /{'a' * 9000} HTTP/1.1"),
    "a header of 9 KiB": said("GET /health HTTP/1.1", f"X-Long: {'a' * 9000}"),
    "headers of 40 KiB": said("GET /health HTTP/1.1", *(f"X-Long-{number}: {'a' * 4000}" for number in range(10))),
    "an unknown transfer coding": said(POST, "Transfer-Encoding: foo"),
    "two lengths": said(POST, "Content-Length: 1", "Content-Length: 2"),
    "a length that is none": said(POST, "Content-Length: -1"),
    "a length and chunks": said(POST, "Content-Length: 1", "Transfer-Encoding: chunked"),
    "a chunk of no length": said(POST, BEARER, "Transfer-Encoding: chunked") + b"zz\r\n",
    "more than 1 MiB": said(POST, BEARER, "Content-Length: 1048577"),
    "TRACE": said("TRACE /health HTTP/1.1"),
    "CONNECT": said("CONNECT other:443 HTTP/1.1"),
    "a method that nobody has": said("BREW /health HTTP/1.1"),
    "a method that the path has not": said("DELETE /health HTTP/1.1"),
    "a path that nobody has": said("GET /no/such HTTP/1.1"),
    "a path with a line feed": said("GET /api/%0a HTTP/1.1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_whatever_is_refused_is_told_in_the_shape_of_the_api(what: str, door: Door) -> None:
    answer = door.said(REFUSED[what])
    assert 400 <= answer.status < 600 and answer.status not in (500, 502), answer
    assert answer.code is not None, answer
    assert answer.headers["content-type"].startswith("application/json")


def test_http_1_0_without_a_host_gets_json(door: Door) -> None:
    answer = door.said(b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.status == 200 or answer.code is not None, answer


@pytest.mark.parametrize("path", ["/", "/page.js", "/health"])
def test_head_is_get_without_a_body(path: str, door: Door) -> None:
    get, head = (door.ask(path, method) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


def test_without_a_token_health_is_one_word(door: Door) -> None:
    for path in (DETAILED, f"{DETAILED}?verbose=1", "/api/discovery/status"):
        answer = door.ask(path)
        assert (answer.status == 401 and answer.code) or set(answer.json()) == {"status"}, answer
    assert {"status", "services"} <= set(door.ask(DETAILED, headers=authorized(MALLORY)).json())


def test_no_query_is_in_any_log(door: Door, project: Project) -> None:
    """Whatever becomes of the request: each of these is answered differently."""
    query = f"?token={SECRET}"
    for path in ("/", "/health", "/nowhere", "//", "/api/events", "/api/agents/available", f"/{'a' * 9000}"):
        door.said(said(f"GET {path}{query} HTTP/1.1", "Connection: close"))
    for method, header in (
        ("POST", "Content-Length: 1048577"),
        ("POST", "Transfer-Encoding: foo"),
        ("POST", "Expect: nothing"),
        ("GET", f"X-Long: {'a' * 9000}"),
        ("GET", "Host: other"),
        ("TRACE", "Connection: close"),
    ):
        door.said(said(f"{method} {RUNS}{query} HTTP/1.1", header))
    together([partial(door.said, said(f"GET /nowhere{query} HTTP/1.1"), CLIENTS[0])] * 600)
    assert [one.name for one in project.containers() if SECRET in logs_of(project, str(one.name))] == []


FORGED = '{"level":"forged"}'
IN_A_PATH = FORGED.replace('"', "%22")
FORGING = [
    said(f"GET /api/runs/x%0d%0a{IN_A_PATH} HTTP/1.1", "Connection: close"),
    said("GET /health HTTP/1.1", 'X-Request-ID: a","level":"forged', "Connection: close"),
    said(
        "GET /health HTTP/1.1", "X-Forwarded-For: 1.2.3.4\x1b[2J", "User-Agent: \x1b]0;forged\x07", "Connection: close"
    ),
    said('FORGED" HTTP/1.1'),
    said(f'GET /"}}\\n{FORGED} HTTP/1.1', "Connection: close"),
]


def test_nobody_writes_lines_into_a_log(door: Door, project: Project) -> None:
    for request in FORGING:
        door.said(request)
    run(door, "ai-engineer", f"one\n{FORGED}\r\n{FORGED}\x1b[2J\u2028{FORGED}")
    run(door, f"no%0a{IN_A_PATH}", "one")
    for name in ("nginx", "promptcraft-1", "promptcraft-2", "promptcraft-3", "zen-mcp"):
        text = logs_of(project, f"promptcraft-{project.stack}-{name}")
        lines = text.split("\n")
        assert [line for line in lines if line.startswith("{") and json.loads(line).get("level") == "forged"] == []
        assert [line for line in lines if line.startswith(FORGED)] == []
        assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text), name


def logs_of(project: Project, name: str) -> str:
    return str(project.engine.client.containers.get(name).logs().decode())


# --- A replica that hangs ---

# Seconds. Whoever reads is answered by another replica; a run, which is never asked for twice, ends with the replica
# that has it; after the third nothing is left of one that hung.
ANSWERED, RUN_ENDED, HEALED = 10.0, 30.0, 60.0
RATE = 12.0


def is_a_run(number: int) -> bool:
    return number % 4 == 3


def processes(project: Project, name: str) -> set[int]:
    rows = container(project, name).top(ps_args="-eo pid,comm")["Processes"]
    return {int(pid) for pid, command in rows if command.startswith("python")}


@pytest.fixture
def hung(door: Door, project: Project) -> Iterator[Callable[[], None]]:
    """Stops every process of the second replica, as the kernel would leave one that waits for ever."""
    stopped: set[int] = set()

    def stop() -> None:
        stopped.update(processes(project, "promptcraft-2"))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in stopped & processes(project, "promptcraft-2"):
        os.kill(pid, signal.SIGCONT)


@plain_only
def test_a_replica_that_hangs_costs_nobody_more_than_seconds(
    door: Door, project: Project, hung: Callable[[], None]
) -> None:
    def ask(number: int) -> Answer:
        source = CLIENTS[number % len(CLIENTS)]
        if is_a_run(number):
            return run(door, "ai-engineer", f"steady {number}", source=source)
        path = ("/health", "/", "/api/agents/available")[number % 3]
        return door.ask(path, headers=authorized(ALICE), source=source, seconds=30)

    before = vitals(project)[f"promptcraft-{project.stack}-promptcraft-2"]
    with steadily(ask, RATE) as stream:
        until(lambda: len(stream.outcomes) > 5 * RATE)
        hung()
        since = max(outcome.begun for outcome in stream.outcomes)
        until(lambda: is_well(project, before), seconds=HEALED)
        healed = max(outcome.begun for outcome in stream.outcomes)
        until(lambda: max(outcome.begun for outcome in stream.outcomes) > healed + 10)
    failed = [outcome for outcome in stream.outcomes if outcome.status != 200]
    slow = [one for one in stream.outcomes if one.seconds > (RUN_ENDED if is_a_run(one.number) else ANSWERED)]
    assert len(stream.outcomes) > 20 * RATE
    assert slow == [], told(slow, since)
    # Only what the hung replica may have begun is lost.
    assert [one for one in failed if not is_a_run(one.number) or one.begun > healed] == [], told(failed, since)
    assert len(failed) <= len(stream.outcomes) / 20, told(failed, since)


def is_well(project: Project, before: tuple[int, bool, str]) -> bool:
    """Whether the replica was started again and is healthy."""
    now = container(project, "promptcraft-2").attrs
    return bool(now["State"]["StartedAt"] != before[2] and now["State"]["Health"]["Status"] == "healthy")


def told(outcomes: list[Outcome], since: float) -> list[tuple[float, float, int | None]]:
    return [(round(one.begun - since, 1), round(one.seconds, 1), one.status) for one in outcomes]


# --- Pages of other origins, in the browser of whoever runs the stack ---

ELSEWHERE = "http://elsewhere.example"
PUBLISHED = {
    7862: "/health",
    7860: "/",
    8000: "/health",
    6333: "/collections",
    9090: "/api/v1/query?query=up",
    3000: "/api/health",
}


@plain_only
@pytest.mark.parametrize("port", PUBLISHED)
def test_no_page_from_elsewhere_reads_what_is_on_the_loopback(port: int, door: Door, project: Project) -> None:
    for method in ("GET", "OPTIONS"):
        asked = {
            "Origin": ELSEWHERE,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "api-key",
        }
        answer = project.ask(port, PUBLISHED[port], method, headers=asked)
        assert answer.headers.get("Access-Control-Allow-Origin") in (None, f"http://127.0.0.1:{port}"), answer.headers
