"""Claim and release: at most one holder, stale ones replaced, nothing of anybody else's touched."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from discovery import locks
from discovery.locks import LockHeldError
from discovery.readers import lock_format
from discovery.readers.lock_format import Lock, LockError
from tests.unit.asking import write

ROOT = Path(__file__).resolve().parents[3]
LONG_AGO = float(int(time.time()) - 3600)


def lock(**other: object) -> Lock:
    values: dict[str, object] = {"service": "redis", "endpoint": "redis://127.0.0.1:6379", "project": "p", "stack": "s"}
    return Lock(**(values | {"pid": None, "created": float(int(time.time()))} | other))  # type: ignore[arg-type]


def nobody(_: str) -> bool:
    return False


def somebody(_: str) -> bool:
    return True


def read(folder: Path) -> Lock:
    data = lock_format.read(folder / ".mcp-redis.lock")
    assert data is not None
    return lock_format.parse(data)


def test_a_claim_is_a_private_file_with_all_of_it(tmp_path: Path) -> None:
    path = locks.claim(tmp_path, lock())

    assert path == tmp_path / ".mcp-redis.lock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_bytes())) == {"service", "endpoint", "project", "stack", "pid", "created"}
    assert list(tmp_path.iterdir()) == [path]


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    "earlier",
    [
        lambda: lock(endpoint="redis://127.0.0.1:1"),
        lambda: lock(stack="other", pid=dead_pid()),
        lambda: lock(stack="other", pid=os.getpid(), created=LONG_AGO * 0.5),
        lambda: lock(stack="other", created=LONG_AGO),
    ],
    ids=["our own", "a dead process's", "a recycled number's", "a container's that is gone"],
)
def test_what_is_ours_or_stale_is_replaced(tmp_path: Path, earlier: Callable[[], Lock]) -> None:
    write(tmp_path / ".mcp-redis.lock", earlier().to_bytes())

    locks.claim(tmp_path, lock(), nobody)

    assert (read(tmp_path).stack, read(tmp_path).endpoint) == ("s", "redis://127.0.0.1:6379")


@pytest.mark.parametrize("content", [b"", b"not a lock", b"{}", b'{"pid": 1, "pid": 2}'])
def test_what_is_no_lock_is_replaced(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / ".mcp-redis.lock", content)

    locks.claim(tmp_path, lock(), somebody)

    assert read(tmp_path).stack == "s"


@pytest.mark.parametrize(
    ("made", "answering"),
    [
        (lambda: lock(stack="other", pid=os.getpid()), nobody),
        (lambda: lock(project="other", created=LONG_AGO), somebody),
        # Made now, not when the tests were collected: minutes later it would have had the time to start.
        (lambda: lock(stack="other"), nobody),
    ],
    ids=["a living process", "a container that answers", "a container that is starting"],
)
def test_a_living_holder_is_named_and_kept(tmp_path: Path, made: Callable[[], Lock], answering: locks.Answers) -> None:
    holder = made()
    write(tmp_path / ".mcp-redis.lock", holder.to_bytes())

    with pytest.raises(LockHeldError, match=rf"held by stack {holder.stack} of project {holder.project} at redis://"):
        locks.claim(tmp_path, lock(), answering)

    assert read(tmp_path) == holder
    assert len(list(tmp_path.iterdir())) == 1


def test_whether_a_container_lives_is_asked_at_its_endpoint(tmp_path: Path) -> None:
    asked: list[str] = []

    def gone(endpoint: str) -> bool:
        asked.append(endpoint)
        return False

    write(tmp_path / ".mcp-redis.lock", lock(stack="other", endpoint="redis://h:1", created=LONG_AGO).to_bytes())

    locks.claim(tmp_path, lock(), gone)

    assert asked == ["redis://h:1"]


@pytest.mark.parametrize(
    "place",
    [
        lambda path: path.symlink_to(write(path.with_name("target"), "precious")),
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,
        os.mkdir,
        lambda path: os.chown(write(path, "precious"), 12345, 12345),
        lambda path: write(path, "x" * 5000),
    ],
    ids=["a symbolic link", "a dangling link", "a FIFO", "a folder", "another user's file", "a large file"],
)
def test_what_is_no_lock_file_of_ours_is_never_touched(tmp_path: Path, place: Callable[[Path], object]) -> None:
    path = tmp_path / ".mcp-redis.lock"
    place(path)
    before = {entry.name: entry.lstat() for entry in tmp_path.iterdir()}

    for act in (
        lambda: locks.claim(tmp_path, lock(), nobody),
        lambda: locks.release(tmp_path, "redis", "p", "s"),
    ):
        with pytest.raises(LockHeldError, match=r"remove it or set MCP_LOCK_DIR"):
            act()

    after = {entry.name: entry.lstat() for entry in tmp_path.iterdir()}
    assert {name: (status.st_ino, status.st_mtime_ns) for name, status in after.items()} == {
        name: (status.st_ino, status.st_mtime_ns) for name, status in before.items()
    }


def test_release_removes_only_our_own(tmp_path: Path) -> None:
    locks.claim(tmp_path, lock())

    assert not locks.release(tmp_path, "redis", "p", "other")
    assert not locks.release(tmp_path, "redis", "other", "s")
    assert not locks.release(tmp_path, "qdrant", "p", "s")
    assert read(tmp_path).stack == "s"
    assert locks.release(tmp_path, "redis", "p", "s")
    assert not locks.release(tmp_path, "redis", "p", "s")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("service", ["../../etc/x", "a/b", "", "A", "x" * 64])
def test_a_service_that_leads_elsewhere_is_refused(tmp_path: Path, service: str) -> None:
    with pytest.raises(LockError):
        locks.claim(tmp_path, lock(service=service))
    with pytest.raises(LockError):
        locks.release(tmp_path, service, "p", "s")

    assert list(tmp_path.iterdir()) == []


def test_two_claims_of_one_stale_lock_cannot_both_win(tmp_path: Path) -> None:
    """Both see the stale lock; the second must notice that the first has replaced it."""
    write(tmp_path / ".mcp-redis.lock", lock(stack="gone", created=LONG_AGO).to_bytes())
    both_have_read = threading.Barrier(2, timeout=0.5)
    won: list[str] = []

    def dead(_: str) -> bool:
        try:
            both_have_read.wait()
        except threading.BrokenBarrierError:
            return False  # the other one is kept out meanwhile, as it should be
        return False

    def claim(stack: str) -> None:
        try:
            locks.claim(tmp_path, lock(stack=stack), dead)
        except LockHeldError:
            return
        won.append(stack)

    threads = [threading.Thread(target=claim, args=(stack,)) for stack in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert won == [read(tmp_path).stack]


@pytest.mark.parametrize("stale", [False, True])
def test_of_ten_processes_exactly_one_wins(tmp_path: Path, stale: bool) -> None:
    if stale:
        write(tmp_path / ".mcp-redis.lock", lock(stack="gone", created=LONG_AGO).to_bytes())
    start = tmp_path / "start"
    os.mkfifo(start)
    # Each waits until the FIFO is opened for writing, which lets all go at once.
    wait = f"open({str(start)!r}).read(); import sys; from discovery.locks import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", wait, "claim", "--service", "redis", "--project", "p", "--dir", str(tmp_path)]
    claimers = [
        subprocess.Popen(
            [*command, "--endpoint", "redis://127.0.0.1:1", "--stack", f"s{number}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(10)
    ]
    with start.open("w"):
        pass
    while any(claimer.poll() is None for claimer in claimers):
        # One that came late to the FIFO is let go too.
        try:
            os.close(os.open(start, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            os.sched_yield()

    winners = [number for number, claimer in enumerate(claimers) if claimer.returncode == 0]
    assert len(winners) == 1
    assert read(tmp_path).stack == f"s{winners[0]}"
    assert {claimer.returncode for claimer in claimers} == {0, 1}
    assert {path.name for path in tmp_path.iterdir()} == {"start", ".mcp-redis.lock"}


ARGUMENTS = ["--service", "redis", "--project", "p", "--stack", "s"]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_LOCK_DIR", str(tmp_path))

    assert locks.main(["claim", *ARGUMENTS, "--endpoint", "redis://127.0.0.1"]) == 0
    assert read(tmp_path).endpoint == "redis://127.0.0.1:6379"
    assert locks.main(["claim", *ARGUMENTS[:-1], "other", "--endpoint", "redis://127.0.0.1"]) == 1
    assert "held by stack s of project p" in capsys.readouterr().err
    assert locks.main(["claim", "--yield", *ARGUMENTS[:-1], "other", "--endpoint", "redis://127.0.0.1"]) == 0
    assert "held by stack s of project p" in capsys.readouterr().err
    assert locks.main(["release", *ARGUMENTS]) == 0
    assert locks.main(["release", *ARGUMENTS]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["claim", *ARGUMENTS],
        ["claim", *ARGUMENTS, "--endpoint", "redis://:geheim@h"],
        ["claim", *ARGUMENTS, "--endpoint", "http://h", "--pid", "0"],
        ["claim", *ARGUMENTS, "--endpoint", "http://h", "--service", "../x"],
        ["release", *ARGUMENTS, "--service", "../x"],
        ["steal", *ARGUMENTS],
    ],
)
def test_wrong_arguments_are_told_without_secrets(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        locks.main([*arguments, "--dir", str(tmp_path)])

    assert caught.value.code == 2
    assert "geheim" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LockHeldError, match="set MCP_LOCK_DIR"):
        locks.claim(tmp_path / "absent", lock())


def test_answers_means_that_somebody_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert locks.answers(endpoint)
    assert not locks.answers(endpoint)


def test_same_holder_means_stack_project_and_service() -> None:
    assert lock().same_holder(lock(endpoint="http://h:1"))
    for other in ({"stack": "x"}, {"project": "x"}, {"service": "x"}):
        assert not lock().same_holder(replace(lock(), **other))  # type: ignore[arg-type]
