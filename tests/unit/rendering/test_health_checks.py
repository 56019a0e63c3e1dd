"""The command that says whether a container is well, and ends what hangs in it, run against servers of all kinds."""

from __future__ import annotations

import hashlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from catalog import CARRIER, REPLICATED_MISSES, SERVICES, STDIO
from rendering.health_checks import ANSWER_SECONDS, END, UNANSWERED, ending_what_hangs, health_command, health_digest
from tests.answering import answering


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that is taken and that nobody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose holder takes connections and says nothing, like a process that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def look(command: list[str], folder: Path, comm: str = "docker-init") -> tuple[bool, bool]:
    """Whether all is well, and whether what hangs is ended: in `folder`, and only said."""
    (folder / "comm").write_text(comm + "\n")
    ended = folder / "ended"
    moved = {UNANSWERED: str(folder / "unanswered"), END: f"touch {ended}", "/proc/1/comm": str(folder / "comm")}
    for old, new in moved.items():
        assert old in command[-1]
        command = [part.replace(old, new) for part in command]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.returncode == 0, ended.exists()


def of_the_application(page: int, api: int) -> list[str]:
    """The application's check, with its two ports moved."""
    kind, *command = health_command(SERVICES["promptcraft"].health_check)
    assert kind == "CMD"
    patient = f"read -t {ANSWER_SECONDS}"
    assert patient in command[-1]
    moves = {"7860": str(page), "7862": str(api), patient: "read -t 0.2"}
    for old, new in moves.items():
        command = [part.replace(old, new) for part in command]
    return command


def healthy(path: str) -> tuple[int, bytes]:
    return (200, b"{}") if path == "/health" else (404, b"")


def test_both_ports_must_answer(closed: int, silent: int, tmp_path: Path) -> None:
    with answering(healthy) as page, answering(healthy) as api:
        assert look(of_the_application(page, api), tmp_path) == (True, False)
        for unwell in (closed, silent):
            assert look(of_the_application(page, unwell), tmp_path) == (False, False)
            assert look(of_the_application(unwell, api), tmp_path) == (False, False)


@pytest.mark.parametrize(("status", "body"), [(503, b"{}"), (503, b"it was 200 OK a moment ago"), (301, b"200 OK")])
def test_any_answer_is_not_enough(status: int, body: bytes, tmp_path: Path) -> None:
    with answering(healthy) as well, answering(lambda _: (status, body)) as unwell:
        assert look(of_the_application(well, unwell), tmp_path) == (False, False)
        assert look(of_the_application(unwell, well), tmp_path) == (False, False)


def test_who_hangs_is_ended_and_not_before_it_was_well(silent: int, tmp_path: Path) -> None:
    hung = of_the_application(silent, silent)
    # It may still be starting.
    assert {look(hung, tmp_path) for _ in range(REPLICATED_MISSES + 2)} == {(False, False)}
    with answering(healthy) as well:
        assert look(of_the_application(well, well), tmp_path) == (True, False)
    assert [look(hung, tmp_path) for _ in range(REPLICATED_MISSES + 1)] == [(False, False)] * REPLICATED_MISSES + [
        (False, True)
    ]


@pytest.mark.parametrize("said", ["refused", "503", "200"])
def test_whoever_says_anything_does_not_hang(said: str, silent: int, closed: int, tmp_path: Path) -> None:
    hung = of_the_application(silent, silent)
    status = 503 if said == "503" else 200
    with answering(healthy) as well, answering(lambda _: (status, b"")) as speaks:
        look(of_the_application(well, well), tmp_path)
        speaking = closed if said == "refused" else speaks
        for _ in range(2):
            assert not any(look(hung, tmp_path)[1] for _ in range(REPLICATED_MISSES - 1))
            assert not look(of_the_application(speaking, speaking), tmp_path)[1]


def test_a_check_that_is_broken_off_counts(tmp_path: Path) -> None:
    def check(what: str) -> list[str]:
        return ["sh", "-c", ending_what_hangs(what, REPLICATED_MISSES)]

    assert look(check("true"), tmp_path) == (True, False)
    (tmp_path / "unanswered").write_text(f"{REPLICATED_MISSES - 1}\n")
    # As the engine does when a check takes too long.
    look(check("kill -9 $$"), tmp_path)
    assert look(check("true"), tmp_path)[1]


def test_nothing_is_ended_outside_of_a_container_with_the_engines_init(tmp_path: Path) -> None:
    hung = ["sh", "-c", ending_what_hangs("exit 124", REPLICATED_MISSES)]
    (tmp_path / "unanswered").write_text("99\n")
    assert look(hung, tmp_path, comm="systemd") == (False, False)
    assert look(hung, tmp_path) == (False, True)


SPY = """#!/bin/sh
{ echo "$@"; tr '\\0' '\\n' </proc/$$/environ; } >"$SPIED"
[ "$(cat)" = "pass word" ] && echo PONG
"""


def test_redis_password_is_in_no_environment_and_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis-cli").write_text(SPY)
    (tmp_path / "redis-cli").chmod(0o755)
    (tmp_path / "password").write_text("pass word")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SPIED", str(tmp_path / "spied"))
    _, *command = health_command(SERVICES["redis"].health_check)
    moved = [part.replace("/run/promptcraft/secrets/redis", str(tmp_path / "password")) for part in command]
    assert look(moved, tmp_path) == (True, False)
    assert "pass word" not in (tmp_path / "spied").read_text()


def test_a_carrier_is_well_while_it_listens(silent: int, closed: int) -> None:
    for port, listens in ((silent, True), (closed, False)):
        check = replace(STDIO.health_check, port=port)
        command, program, *words = health_command(check)
        assert (command, program) == ("CMD", CARRIER)
        # The host's own grep plays busybox's.
        assert (subprocess.run(words, check=False).returncode == 0) is listens


@pytest.mark.parametrize("name", SERVICES)
def test_a_label_is_made_as_those_of_containers_that_run_already_were(name: str) -> None:
    """The label once was made from this class; made otherwise, an update would replace every container."""

    @dataclass(frozen=True)
    class HealthCheck:
        command: tuple[str, ...]
        interval: int
        timeout: int
        retries: int
        start_period: int

    HealthCheck.__qualname__ = "HealthCheck"
    check = SERVICES[name].health_check
    once = HealthCheck(health_command(check), check.interval, check.timeout, check.retries, check.start_period)
    assert health_digest(check) == hashlib.sha256(repr(once).encode()).hexdigest()[:12]
