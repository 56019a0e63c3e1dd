"""Lock files as a source: a hint where to ask, and only if the file is plain, ours, whole and its process lives."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.probes.lock_files import lock_files
from discovery.readers import lock_format
from discovery.readers.lock_format import Lock, LockError
from discovery.report import Candidate, Source
from tests.unit.asking import JSON_VALUES, MANY, request_in, write


def document(**other: object) -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    lock = {"service": "zen-mcp", "endpoint": "http://127.0.0.1:7000", "project": "p", "stack": "s", "pid": os.getpid()}
    return lock | {"created": now} | other


def look(tmp_path: Path, content: object, name: str = ".mcp-zen-mcp.lock", mode: int = 0o600) -> Candidate:
    request = request_in(tmp_path)
    write(request.lock_dir / name, content, mode)
    gathered = lock_files(request)
    (candidate,) = gathered.candidates
    assert len(gathered.warnings) == (candidate.problem is not None)
    return candidate


@pytest.mark.parametrize(
    "created",
    [None, time.time(), int(time.time()), "without a zone"],
    ids=["now", "seconds", "whole seconds", "no zone"],
)
@pytest.mark.parametrize("pid", [None, os.getpid()], ids=["container", "process"])
def test_a_good_lock_is_a_hint(tmp_path: Path, pid: int | None, created: object) -> None:
    content = document(pid=pid)
    if created == "without a zone":
        content["created"] = datetime.now(UTC).replace(tzinfo=None).isoformat()
    elif created is not None:
        content["created"] = created

    candidate = look(tmp_path, content)

    assert (candidate.service, candidate.source) == ("zen-mcp", Source.EXTERNAL)
    assert (candidate.endpoint, candidate.problem) == ("http://127.0.0.1:7000", None)
    assert candidate.evidence == "lock file .mcp-zen-mcp.lock"


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: {"pid": dead_pid()}, "is gone"),
        (lambda: {"created": "2020-01-01T00:00:00Z"}, "another one has its number now"),
        (lambda: {"created": "2999-01-01T00:00:00Z"}, "created in the future"),
        (lambda: {"created": "2999-01-01T00:00:00Z", "pid": None}, "created in the future"),
    ],
)
def test_a_stale_lock_says_why(tmp_path: Path, change: Callable[[], dict[str, object]], words: str) -> None:
    candidate = look(tmp_path, document(**change()))

    assert str(candidate.problem).startswith("stale lock: ")
    assert words in str(candidate.problem)


def test_a_process_that_has_ended_but_was_not_waited_for_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 5
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        os.sched_yield()

    candidate = look(tmp_path, document(pid=child.pid))

    child.wait()
    assert "has ended" in str(candidate.problem)


PIDS: list[object] = [True, False, -1, 0, 1.5, "1", [1], {"a": 1}, 1 << 70, 4_194_305]
TIMES: list[object] = [None, "", "yesterday", True, -1, 0, 1e300, 10**400, [], "9" * 100, float("nan")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(({"pid": pid}, "no usable pid") for pid in PIDS),
        *(({"created": moment}, "no usable time") for moment in TIMES),
        ({"service": "qdrant"}, "it says it is for qdrant"),
        ({"service": "../x"}, "no service can be called"),
        ({"service": 5}, "no usable service"),
        ({"project": "\x1b[2J\n[OK]"}, "no usable project"),
        ({"project": ""}, "no usable project"),
        ({"stack": "x" * 200}, "no usable stack"),
        ({"endpoint": "file:///etc/passwd"}, "wrong scheme"),
        ({"endpoint": "http://169.254.169.254"}, "cannot be asked"),
        ({"endpoint": "redis://:geheim@h"}, "user name or password"),
        ({"endpoint": None}, "no usable endpoint"),
        ({"endpoint": "http://h/" + "x" * 2100}, "no usable endpoint"),
    ],
)
def test_what_is_no_lock_is_unsafe(tmp_path: Path, change: dict[str, object], words: str) -> None:
    candidate = look(tmp_path, document(**change))

    assert str(candidate.problem).startswith("unsafe lock: ")
    assert words in str(candidate.problem)
    assert "geheim" not in repr(candidate)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\0" * 100, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 4000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"pid": 1, "pid": null}', "has a key twice"),
        (b" " * 5000, "larger than 4 KiB"),
    ],
)
def test_other_bytes_are_unsafe(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in str(look(tmp_path, content).problem)


@pytest.mark.parametrize("key", ["service", "endpoint", "project", "stack", "pid", "created"])
def test_every_key_is_needed(tmp_path: Path, key: str) -> None:
    content = document()
    del content[key]

    assert look(tmp_path, content).problem is not None


def symlink(path: Path) -> None:
    path.symlink_to(write(path.with_name("target"), document()))


def hard_link(path: Path) -> None:
    os.link(write(path.with_name("target"), document()), path)


def strangers(path: Path) -> None:
    os.chown(write(path, document()), 12345, 12345)


def gigabyte(path: Path) -> None:
    os.truncate(write(path, document()), 1 << 30)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (symlink, "symbolic link"),
        (lambda path: path.symlink_to("/nowhere"), "symbolic link"),
        (hard_link, "hard links"),
        (os.mkfifo, "named pipe"),
        (os.mkdir, "directory"),
        (lambda path: os.mknod(path, 0o20600, os.makedev(1, 5)), "device"),
        (lambda path: write(path, document(), mode=0o666), "writable"),
        (lambda path: write(path, document(), mode=0o620), "writable"),
        (strangers, "another user"),
        (gigabyte, "larger than 4 KiB"),
    ],
)
def test_what_is_no_plain_file_of_ours_is_unsafe_at_once(
    tmp_path: Path, place: Callable[[Path], object], words: str
) -> None:
    request = request_in(tmp_path)
    place(request.lock_dir / ".mcp-zen-mcp.lock")
    start = time.monotonic()

    gathered = lock_files(request)

    assert time.monotonic() - start < 4
    assert words in gathered.warnings[0]
    (candidate,) = gathered.candidates
    assert (candidate.endpoint, str(candidate.problem).startswith("unsafe lock: ")) == ("", True)


def test_other_files_of_the_folder_are_nobodys_locks(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    for name in ("mcp-redis.lock", ".mcp-redis.lock.draft", ".mcp-redis", "x.lock"):
        write(request.lock_dir / name, document())
    write(request.lock_dir / ".mcp-\x1b[2J.lock", document())

    gathered = lock_files(request)

    assert gathered.candidates == ()
    assert len(gathered.warnings) == 1
    assert gathered.warnings[0].isprintable()


def test_a_thousand_locks_are_bounded(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    for number in range(1000):
        write(request.lock_dir / f".mcp-s{number}.lock", document(service=f"s{number}"))

    gathered = lock_files(request)

    assert len(gathered.candidates) == 200
    assert "1000 lock files" in gathered.warnings[0]


def test_a_lock_survives_its_own_format() -> None:
    lock = Lock("redis", "redis://127.0.0.1:6379", "p", "s", None, 1795367553.25)

    parsed = lock_format.parse(lock.to_bytes())

    assert parsed == lock


@MANY
@given(
    st.binary(max_size=80)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {},
        optional={key: st.text(max_size=10) | JSON_VALUES for key in ("service", "endpoint", "project", "stack")}
        | {"pid": st.integers() | JSON_VALUES, "created": st.datetimes().map(str) | st.floats() | JSON_VALUES},
    ).map(lambda change: json.dumps(document() | change).encode())
)
def test_any_bytes_are_a_lock_or_refused(data: bytes) -> None:
    try:
        lock = lock_format.parse(data)
    except LockError as error:
        assert str(error).isprintable()
        return
    assert lock.pid is None or (isinstance(lock.pid, int) and lock.pid > 0)
    assert isinstance(lock.created, float)
    assert f"{lock.service}{lock.project}{lock.stack}{lock.endpoint}".isprintable()
