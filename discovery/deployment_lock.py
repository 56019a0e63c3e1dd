"""One deployment of a stack at a time on this machine, whoever started it.

Pulumi's own lock begins after a command's first step and ends before its last one, and `pulumi cancel` deletes it while
its owner works on. This one is held by the kernel (flock(2)): by the command that took it, and by every process that
inherited the open file. So it is free only when `make` and whatever its killed `pulumi` left behind are both gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from catalog import PROJECT
from discovery.one_look import pulumi_process
from discovery.readers.checkpoint import state_folder
from discovery.readers.process_identity import ProcessIdentity, identity
from errors import ConfigError
from reading import safe_files
from reading.safe_files import UnsafeFile

# Seconds: for a `pulumi` whose owner died to finish what it has begun; for a plugin without one; after SIGTERM.
_ENGINE_SECONDS = 180.0
_PLUGIN_SECONDS = 3.0
_TERM_SECONDS = 3.0
_POLL = 0.2
_MAX_BYTES = 4096

Say = Callable[[str], None]


class BusyError(Exception):
    """Somebody else is changing the stack. The text is one line; nothing was changed."""


@dataclass(frozen=True)
class _Holder:
    """Who took the lock. `owner` is whose end is the command's end: `make`, or the command itself."""

    command: str
    owner: ProcessIdentity
    since: str


def lock_path(root: Path, stack: str, environ: Mapping[str, str]) -> Path:
    """Where the lock of `stack` lies: beside its state, so that whoever shares the state shares the lock."""
    folder = state_folder(root, environ)
    if folder is not None:
        return folder / ".pulumi" / "deployments" / f"{PROJECT}.{stack}.lock"
    home = Path(environ.get("PULUMI_HOME") or Path(environ.get("HOME") or Path.home()) / ".pulumi")
    backend = hashlib.sha256(environ.get("PULUMI_BACKEND_URL", "").encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return home / "deployments" / f"{backend}.{PROJECT}.{stack}.lock"


@contextmanager
def held(path: Path, command: str, owner: ProcessIdentity, say: Say) -> Iterator[int]:
    """Hold the lock; yields its descriptor, which a child that works on must inherit.

    Raises `BusyError` where another command holds it. What a killed command left at work is waited for, or ended;
    `say` is told so.
    """
    with _opened(path) as descriptor:
        if not _locked(descriptor):
            holder = _read(path)
            if holder is None or holder.owner.lives:
                raise BusyError(_busy(path, holder))
            say(f"{holder.command} of {holder.since} was killed; waiting until what it left behind has ended")
            _await_the_end(path, descriptor)
        _write(descriptor, command, owner)
        yield descriptor


def join(root: Path, stack: str, environ: Mapping[str, str]) -> None:
    """Make sure that an update by `pulumi` is the only one: called by the program, which holds the lock till it ends.

    Where the command that started this `pulumi` holds the lock already, that is enough. Raises `BusyError`.
    """
    pulumi = pulumi_process()
    if pulumi is None:
        return
    path = lock_path(root, stack, environ)
    # It stays open on purpose: the lock is this process's until it ends.
    descriptor = _open(path)
    if _locked(descriptor):
        _write(descriptor, "pulumi", pulumi)
        return
    os.close(descriptor)
    holder = _read(path)
    if holder is None or not any(holder.owner == identity(parent.pid) for parent in psutil.Process().parents()):
        raise BusyError(_busy(path, holder))


def end_what_is_left(path: Path) -> None:
    """End every other process that still holds the lock: what a `pulumi` that was killed has left of its plugins."""
    _, alive = psutil.wait_procs(_holding(path), timeout=_PLUGIN_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=_TERM_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=_TERM_SECONDS)


def _await_the_end(path: Path, descriptor: int) -> None:
    """Wait for an engine that finishes what it has begun, then end the others. Raises `BusyError` if that fails."""
    deadline = time.monotonic() + _ENGINE_SECONDS
    while not _locked(descriptor):
        if time.monotonic() > deadline or not any(_is_engine(process) for process in _holding(path)):
            end_what_is_left(path)
            if _locked(descriptor):
                return
            raise BusyError(_busy(path, _read(path)))
        time.sleep(_POLL)


def _is_engine(process: psutil.Process) -> bool:
    try:
        return bool(process.name() == "pulumi")
    except psutil.NoSuchProcess:
        return False


def _holding(path: Path) -> list[psutil.Process]:
    """Every other process that has the lock's file open."""
    wanted = path.stat()
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _has_open(process, wanted)]


def _has_open(process: psutil.Process, wanted: os.stat_result) -> bool:
    try:
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), wanted):
                    return True
    except OSError:
        return False
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}:1: lock: cannot be opened ({error.strerror}); make its folder writable") from error


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, command: str, owner: ProcessIdentity) -> None:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    text = json.dumps({"command": command, "pid": owner.pid, "birth": owner.birth, "since": since}) + "\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _read(path: Path) -> _Holder | None:
    """Who wrote the lock last; None where that can't be told."""
    try:
        told = json.loads(safe_files.read_file(path, safe_files.Rules(max_bytes=_MAX_BYTES, follow=False)) or b"")
        owner = ProcessIdentity(int(told["pid"]), str(told["birth"]))
        return _Holder(str(told["command"]), owner, str(told["since"]))
    except (UnsafeFile, ValueError, KeyError, TypeError):
        return None


def _busy(path: Path, holder: _Holder | None) -> str:
    if holder is None:
        return f"{path}: another deployment of this stack is at work; nothing was changed, try again when it has ended"
    return (
        f"{path}: {holder.command} (process {holder.owner.pid}, since {holder.since}) is changing this stack; "
        "nothing was changed, try again when it has ended"
    )
