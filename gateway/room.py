"""How much memory requests may take: what this container is limited to, what the process has, what bodies hold."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from gateway.errors import ApiError

_PROC = Path("/proc/self")
_CGROUPS = Path("/sys/fs/cgroup")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# Of the limit: beyond it nothing more is let in; what is left is for what is under way.
_FULL_SHARE = 0.8
# Of the limit: what all requests that are being read or answered may hold together.
_HELD_SHARE = 0.25
# What a body costs: it is there as bytes, as text (four bytes a character at worst), and as what is made of that.
_BYTE_COST = 8
# An empty map in a list, or a key with its value.
_VALUE_COST = 256

RETRY_AFTER_SECONDS = 2


def refused_for_now(status: int, code: str, message: str) -> ApiError:
    """To be asked again soon: 429 where it is the agents' own limits, 503 where it is this replica's memory."""
    return ApiError(status, code, message, {"Retry-After": str(RETRY_AFTER_SECONDS)})


@cache
def _statm() -> int:
    # It stays open: resident memory is asked for with every body.
    return os.open(_PROC / "statm", os.O_RDONLY | os.O_CLOEXEC)


def resident_bytes() -> int:
    # size resident shared text lib data dt, in pages
    return int(os.pread(_statm(), 256, 0).split()[1]) * _PAGE_BYTES


def container_limit(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """The least memory limit of this process's cgroups in bytes, None when there is none; cgroups v1 and v2.

    Source: cgroups(7), and the kernel's cgroup-v2 and memory documents.
    """
    limits = []
    for line in (proc / "cgroup").read_text().splitlines():
        # 0::/user.slice or 9:memory:/docker/4f1c…
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, file = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # A container may see its own group as the root of all, under the path that the host knows it by.
        inside = Path(path.lstrip("/"))
        limits += [_limit(root / group / file) for group in (inside, *inside.parents)]
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    # `max` in v2; v1 has a number near 2**63 instead.
    limit = int(text) if text.isdecimal() else None
    return limit if limit is not None and limit < 2**60 else None


class Room:
    """What requests may hold at a time. `limit` is in bytes: the container's, or less where less is configured."""

    def __init__(self, limit: int) -> None:
        self._full = int(limit * _FULL_SHARE)
        self._most = int(limit * _HELD_SHARE)
        self._held = 0

    def check(self) -> None:
        """Raises `ApiError` 503 when this process has nearly all that it may."""
        if resident_bytes() > self._full:
            raise refused_for_now(503, "memory_limit", f"this replica is above {self._full // 2**20} MiB")

    def take(self, size: int) -> None:
        """Raises `ApiError` 503 when other requests hold too much already."""
        if self._held + size > self._most:
            raise refused_for_now(503, "memory_limit", "this replica holds as many requests as it has memory for")
        self._held += size

    def give_back(self, size: int) -> None:
        self._held -= size


class Hold:
    """What one request holds of the room, until all that use it have let go: the request itself, then its run."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0
        self._users = 1

    def grow(self, body_bytes: int, values: int = 0) -> None:
        """Raises `ApiError` 503."""
        size = body_bytes * _BYTE_COST + values * _VALUE_COST
        self._room.take(size)
        self._size += size

    def share(self) -> None:
        self._users += 1

    def release(self) -> None:
        self._users -= 1
        if not self._users:
            self._room.give_back(self._size)
