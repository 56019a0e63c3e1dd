"""Attacks of somebody who has a token, on what all callers share: the replicas' memory, the slots, Redis, streams."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.engine.project import Done, Project
from tests.journeys.attacked import ALICE, MALLORY, SLOTS, Held, authorized, held, project, run
from tests.journeys.attacking import (
    CLIENTS,
    HOST,
    Answer,
    Door,
    beside,
    container,
    kept_open,
    together,
    vitals,
)
from tests.waiting import until

__all__ = ["held", "project"]

pytestmark = pytest.mark.engine

AGENT = "ai-engineer"
# Of an agent whose tool takes arguments.
RUNS = "/api/agents/held/runs"


@pytest.fixture(scope="module")
def door(deployed: Done, project: Project) -> Door:
    return Door(project)


@pytest.fixture(autouse=True)
def _nobody_dies(deployed: Done, project: Project) -> Iterator[None]:
    """No attack here ends a container, or makes the stack unwell for good."""
    before = vitals(project)
    yield
    assert vitals(project) == before


# --- JSON that grows when it is read ---

MIB = 1024 * 1024


def in_arguments(text: str) -> bytes:
    return b'{"input": "NUMBER", "arguments": {"a": ' + text.encode() + b"}}"


BOMBS = {
    "empty lists": in_arguments("[" + "[]," * (MIB // 3 - 40) + "[]]"),
    "empty objects": in_arguments("[" + "{}," * (MIB // 3 - 40) + "{}]"),
    "small numbers": in_arguments("[" + "1," * (MIB // 2 - 40) + "1]"),
    "keys": in_arguments("{" + ",".join(f'"{number:x}":0' for number in range(95_000)) + "}"),
    "lists in lists": in_arguments("[" * (MIB // 2 - 40) + "]" * (MIB // 2 - 40)),
    "lists in lists without an end": in_arguments("[" * (MIB - 60)),
    "objects in objects": in_arguments('{"a":' * 150_000 + "0" + "}" * 150_000),
    "400 lists in lists": in_arguments("[" * 400 + "]" * 400),
    "one long number": in_arguments("1" * (MIB - 60)),
    "long numbers": in_arguments("[" + ",".join(["9" * 4000] * 250) + "]"),
    "numbers beyond floats": in_arguments("[" + ",".join(["1e999999"] * 100_000) + "]"),
    "escapes": in_arguments('"' + "\\ud83d\\ude00" * 87_000 + '"'),
    "half escapes": in_arguments('"' + "\\ud800" * 170_000 + '"'),
    "a long input of escapes": b'{"input": "' + b"\\u0000" * 170_000 + b'"}',
    "the same key": in_arguments("{" + '"a":[],' * 140_000 + '"a":0}'),
    "a body that is one list": b"[" + b"[]," * (MIB // 3 - 10) + b"[]]",
}


def bomb(door: Door, body: bytes, number: int) -> Answer | None:
    headers = authorized(MALLORY) | {"Content-Type": "application/json"}
    # Equal ones would be one run.
    body = body.replace(b"NUMBER", f"{number:06}".encode())
    with contextlib.suppress(OSError, http.client.HTTPException):
        return door.ask(RUNS, "POST", body, headers, source=CLIENTS[number % len(CLIENTS)], seconds=60)
    return None


@pytest.mark.parametrize("what", BOMBS)
def test_no_body_takes_a_replica(what: str, door: Door) -> None:
    """Fifteen of one kind at once, and somebody else meanwhile."""
    assert len(BOMBS[what]) <= MIB
    bombs, other = beside(
        [partial(bomb, door, BOMBS[what], number) for number in range(15)], partial(run, door, AGENT, fresh())
    )
    assert [one for one in bombs if one is None] == []
    statuses = {one.status for one in bombs if one is not None}
    assert statuses <= {200, 400, 413, 422, 429, 503}, statuses
    assert all(one.code for one in bombs if one is not None and one.status != 200)
    assert (other.status, other.json()["status"]) == (200, "succeeded"), other


@pytest.mark.parametrize("depth", [400, 2000])
def test_arguments_too_deep_for_whoever_reads_them_next_are_refused(depth: int, door: Door) -> None:
    answer = bomb(door, in_arguments("[" * depth + "]" * depth), 0)
    assert answer is not None and answer.status == 422, answer


# --- Idempotency keys: the run that answered, or none ---


def fresh() -> str:
    return secrets.token_hex(8)


def test_keys_that_joined_an_equal_run_name_it(door: Door, held: Held) -> None:
    """More requests than replicas, so that some join within a replica and some across."""
    question, keys = f"joined {fresh()}", [fresh() for _ in range(6)]
    with held.back():
        waiting = [partial(run, door, "held", question, key=key) for key in keys]
        released = partial(let_go_when, lambda: held.calls(question) == 1, held)
        first, _ = beside(waiting, released)
    again = [run(door, "held", question, key=key) for key in keys]
    assert held.calls(question) == 1
    for one, two in zip(first, again, strict=True):
        assert (one.status, one.json()["status"]) == (200, "succeeded"), one
        assert (two.status, two.json()["output"]) == (200, one.json()["output"]), two
        record = door.ask(f"/api/runs/{two.json()['id']}", headers=authorized(ALICE))
        assert (record.status, record.json()["output"]) == (200, one.json()["output"]), record
    other = run(door, "held", question + " and more", key=keys[0])
    assert (other.status, other.code) == (409, "idempotency_key_reused")


def let_go_when(condition: Callable[[], bool], held: Held, seconds: float = 30) -> None:
    try:
        until(condition, seconds)
    finally:
        held.let_go()


def test_a_run_that_found_no_place_keeps_no_key(door: Door, held: Held) -> None:
    questions, late, key = [f"full {fresh()}" for _ in range(SLOTS)], f"late {fresh()}", fresh()

    def come_late() -> Answer:
        try:
            until(lambda: all(held.calls(question) for question in questions), 30)
            return run(door, "held", late, key=key)
        finally:
            held.let_go()

    with held.back():
        ran, refused = beside([partial(run, door, "held", question) for question in questions], come_late)
    assert {one.status for one in ran} == {200}
    assert (refused.status, refused.code) == (429, "queue_timeout")
    assert int(refused.headers["retry-after"]) > 0
    again = run(door, "held", late, key=key)
    assert (again.status, again.json()["status"]) == (200, "succeeded"), again
    assert held.calls(late) == 1


def test_a_key_outlives_a_pause_of_redis(door: Door, held: Held, project: Project) -> None:
    question, key = f"paused {fresh()}", fresh()
    redis = container(project, "redis")

    def pause() -> None:
        until(lambda: held.calls(question) == 1, 30)
        redis.pause()
        held.let_go()

    try:
        with held.back():
            (first,), _ = beside([partial(run, door, "held", question, key=key)], pause)
    finally:
        redis.unpause()
    assert (first.status, first.json()["status"]) == (200, "succeeded"), first

    def is_known() -> bool:
        again = run(door, "held", question, key=key)
        return again.status == 200 and bool(again.json()["output"] == first.json()["output"])

    until(is_known, 30)
    assert held.calls(question) == 1


# --- One caller's load, another's data ---


def test_one_caller_s_sessions_cost_another_nothing(door: Door, held: Held, project: Project) -> None:
    """More than Redis may hold, in sessions of 60 KiB each with their records and results."""
    question, key, session = f"mine {fresh()}", fresh(), f"mine-{fresh()}"
    mine = run(door, "held", question, key=key, session=session)
    assert mine.status == 200, mine
    flood = [partial(flooding, door, number) for number in range(800)]
    answers = together(flood, workers=24)
    assert {answer.status for answer in answers if answer} <= {200, 413, 429, 503}
    kept = door.ask(f"/api/sessions/{session}", headers=authorized(ALICE))
    assert (kept.status, len(kept.json().get("turns", []))) == (200, 1), kept
    assert run(door, "held", question, key=key, session=session).json()["id"] == mine.json()["id"]
    assert door.ask(f"/api/runs/{mine.json()['id']}", headers=authorized(ALICE)).status == 200
    assert held.calls(question) == 1
    health = door.ask("/api/health/detailed", headers=authorized(ALICE)).json()
    assert health["sessions"]["problem"] is None, health["sessions"]


def flooding(door: Door, number: int) -> Answer | None:
    text = f"{number} " + secrets.token_hex(30_000)
    with contextlib.suppress(OSError, http.client.HTTPException):
        return run(door, AGENT, text, token=MALLORY, session=f"flood-{number}", source=CLIENTS[number % len(CLIENTS)])
    return None


def test_a_session_is_its_caller_s_alone(door: Door, held: Held) -> None:
    session, question = f"private-{fresh()}", f"private {fresh()}"
    assert run(door, "held", question, session=session).status == 200
    mine, theirs, path = authorized(ALICE), authorized(MALLORY), f"/api/sessions/{session}"
    assert door.ask(path, headers=theirs).status == 404
    assert run(door, "held", f"theirs {question}", session=session, token=MALLORY).status == 200
    door.ask(path, "DELETE", headers=theirs)
    turns = door.ask(path, headers=mine).json()["turns"]
    assert [turn["input"] for turn in turns] == [question]


# --- Streams ---


API = 7862
STREAMS = 1000


def stream(door: Door, number: int) -> socket.socket:
    return events_of(door.connected(CLIENTS[number % len(CLIENTS)]), HOST)


def stream_of_one_replica(door: Door, number: int) -> socket.socket:
    """Past nginx, on the port that is published on the loopback: no limit, and one replica bears them all."""
    return events_of(door.project.inside(lambda: socket.create_connection(("127.0.0.1", API), 30)), "127.0.0.1")


def events_of(connection: socket.socket, host: str) -> socket.socket:
    lines = ["GET /api/events HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {MALLORY}", "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


@pytest.mark.parametrize("opened", [stream, stream_of_one_replica])
def test_a_thousand_streams_leave_room_for_everybody_else(
    opened: Callable[[Door, int], socket.socket], door: Door, project: Project
) -> None:
    with kept_open(together([partial(opened, door, number) for number in range(STREAMS)])) as streams:
        assert {connection.recv(4096)[9:12] for connection in streams} == {b"200"}
        answers = [run(door, AGENT, fresh(), source=CLIENTS[0]) for _ in range(10)]
        answers += [door.ask("/health") for _ in range(10)]
        assert {one.status for one in answers} == {200}
        assert max(one.seconds for one in answers) < 10
        for name in ("promptcraft-1", "promptcraft-2", "promptcraft-3", "redis", "nginx"):
            told: Any = container(project, name).stats(stream=False)
            assert told["memory_stats"]["usage"] < told["memory_stats"]["limit"] * 0.8, name
    until(lambda: open_streams(project) == 0, 60)
    until(lambda: connections_of(door) < STREAMS / 20, 60)


def open_streams(project: Project) -> int:
    """Connections that the first replica still has, by the kernel's account of its network."""
    pid = container(project, "promptcraft-1").attrs["State"]["Pid"]
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    # Established (01), at the API's own port; nginx and the health check have a handful.
    found = [row for row in rows if row[3] == "01" and row[1].endswith(f":{API:04X}")]
    return max(0, len(found) - 40)


def connections_of(door: Door) -> int:
    """How many nginx has, by its own account."""
    ask = "exec 3<>/dev/tcp/127.0.0.1/8081; printf 'GET /stub_status HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    _, told = container(door.project, "nginx").exec_run(["bash", "-c", ask])
    assert isinstance(told, bytes)
    return int(told.decode().split("Active connections: ")[1].split()[0])
