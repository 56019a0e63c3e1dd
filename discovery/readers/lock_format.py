"""A lock file's content and name, and whether who wrote it still lives. Shared by who reads and who claims."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from discovery.config import is_name
from discovery.readers.process_identity import CLOCK_TOLERANCE_SECONDS, why_gone
from reading import endpoints, safe_files
from reading.safe_files import Rules, UnsafeFile

MAX_BYTES = 4096
CLAIM_INSTANT_SECONDS = 0.01

_MAX_PID = 4_194_304  # the kernel's own limit on 64-bit machines (proc(5), pid_max)
_MAX_TEXT = 128


class LockError(ValueError):
    """The content is not a lock. The text continues "the file …"."""


@dataclass(frozen=True)
class Lock:
    """Who claims a service. `pid` is None for a container; `created` is in seconds since the epoch."""

    service: str
    endpoint: str
    project: str
    stack: str
    pid: int | None
    created: float

    def to_bytes(self) -> bytes:
        """The JSON of a lock file (docs/interface.md), `created` as ISO 8601 in UTC."""
        created = datetime.fromtimestamp(self.created, UTC).isoformat()
        return json.dumps({**asdict(self), "created": created}).encode() + b"\n"

    def same_holder(self, other: Lock) -> bool:
        """Whether both are claims of the same stack of the same project."""
        return (self.project, self.stack, self.service) == (other.project, other.stack, other.service)


def lock_path(folder: Path, service: str) -> Path:
    """Where the lock of `service` is. Raises `LockError` for a name that could lead elsewhere."""
    if not is_name(service):
        raise LockError("names a service that no service can be called")
    return folder / f".mcp-{service}.lock"


def rules(private: bool = True) -> Rules:
    """A folder that everybody may write to holds what anybody put there: only our own plain files count."""
    return Rules(max_bytes=MAX_BYTES, owners=frozenset({0, os.geteuid()}), follow=False, private=private)


def read(path: Path) -> bytes | None:
    """The bytes of a lock file, None where there is none. Raises `UnsafeFile` for what must not be read."""
    try:
        return safe_files.read_file(path, rules())
    except UnsafeFile:
        # For an instant a lock that is just being claimed has two names, its own and its draft's.
        time.sleep(CLAIM_INSTANT_SECONDS)
        return safe_files.read_file(path, rules())


def parse(data: bytes) -> Lock:
    """A lock from its bytes. Raises `LockError`."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct)
    except LockError:
        raise
    except (ValueError, RecursionError):
        raise LockError("is not JSON") from None
    if not isinstance(value, dict):
        raise LockError("is not a JSON object")
    try:
        endpoint = endpoints.normalise_endpoint(_text(value, "endpoint"), (*endpoints.HTTP, *endpoints.REDIS))
    except endpoints.EndpointError as error:
        raise LockError(f"has an endpoint that {error}") from error
    service = _text(value, "service")
    if not is_name(service):
        raise LockError("names a service that no service can be called")
    return Lock(
        service=service,
        endpoint=endpoint,
        project=_text(value, "project"),
        stack=_text(value, "stack"),
        pid=_pid(value),
        created=_created(value),
    )


def stale_reason(lock: Lock, now: float) -> str | None:
    """Why the lock's holder cannot be alive, or None where it is, or where no process tells (a container)."""
    if lock.created > now + CLOCK_TOLERANCE_SECONDS:
        return "it was created in the future"
    if lock.pid is None:
        return None
    return why_gone(lock.pid, lock.created)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Two readers may take different ones of two equal keys: such a lock says nothing."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise LockError("has a key twice")
    return dict(pairs)


def _text(value: dict[str, object], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not 0 < len(text) <= 2048 or not text.isprintable():
        raise LockError(f"has no usable {key}")
    if key != "endpoint" and len(text) > _MAX_TEXT:
        raise LockError(f"has no usable {key}")
    return text


def _pid(value: dict[str, object]) -> int | None:
    pid = value.get("pid", 0)
    if pid is None:
        return None
    if isinstance(pid, bool) or not isinstance(pid, int) or not 0 < pid <= _MAX_PID:
        raise LockError("has no usable pid")
    return pid


def _created(value: dict[str, object]) -> float:
    created = value.get("created")
    if isinstance(created, str) and len(created) <= 40:
        try:
            moment = datetime.fromisoformat(created)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise LockError("has no usable time of creation") from None
    if isinstance(created, int | float) and not isinstance(created, bool):
        try:
            seconds = float(created)
        except OverflowError:
            seconds = math.inf
        if 0 < seconds < 1e11:
            return seconds
    raise LockError("has no usable time of creation")
