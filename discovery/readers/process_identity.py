"""Which process is meant, since another one may have its number by now: the moment of its birth counts too."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

# A process's start is known to the tick of a clock that may since have been set.
CLOCK_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of this machine. `birth` is as `birth()` tells it."""

    pid: int
    birth: str

    @property
    def lives(self) -> bool:
        return birth(self.pid) == self.birth


def identity(pid: int) -> ProcessIdentity | None:
    """The living process that has the number `pid` now, or None."""
    born = birth(pid)
    return None if born is None else ProcessIdentity(pid, born)


def birth(pid: int) -> str | None:
    """When the process `pid` was born, which no other one shares: the boot, and the clock ticks since (proc(5)).

    None where there is no such process, or it has ended and waits to be collected.
    """
    if not sys.platform.startswith("linux"):
        return _birth_by_the_clock(pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The name in parentheses may hold anything, parentheses and spaces too.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    state, started = fields[0], fields[19]
    return None if state in "ZX" else f"{boot} {started}"


def _birth_by_the_clock(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None


def why_gone(pid: int, written: float) -> str | None:
    """Why the process that wrote down its own number at `written` is no more; None where it lives.

    `written` is in seconds since the epoch. For what others write, which names a number and a time but no birth.
    """
    try:
        # pid_exists, not Process alone: /proc also answers for the ids of threads.
        if not psutil.pid_exists(pid):
            return f"process {pid} is gone"
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"process {pid} has ended"
        if process.create_time() > written + CLOCK_TOLERANCE_SECONDS:
            return f"process {pid} started after the lock was made: another one has its number now"
    except psutil.NoSuchProcess:
        return f"process {pid} is gone"
    except psutil.AccessDenied:
        return f"process {pid} cannot be looked at"
    return None
