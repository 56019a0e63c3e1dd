"""Who called what at the endpoint: one line of the log for each call, and the latest calls of all replicas.

Names and sizes, never a value: an argument's value may be a secret, and an answer anything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from mcp.shared.exceptions import MCPError
from opentelemetry import trace
from pydantic import BaseModel, ValidationError

from gateway.endpoint.limits import LimitedError, Limits
from gateway.metrics import Metrics
from gateway.runs.record import now
from gateway.runs.shared import Shared

log = logging.getLogger(__name__)

KEPT = 200
FLUSH_SECONDS = 1.0
# Of one call's arguments: a caller may make up any.
MAX_NAMES = 20
MAX_NAME_CHARACTERS = 64
NOBODYS = "-"

Kind = Literal["tool", "agent", "prompt", "resource", "completion"]
Outcome = Literal["ok", "error", "refused", "blocked", "limited", "cancelled", "unknown"]


class RefusedError(MCPError):
    """There is no such thing, or none that the caller may see; nothing was called."""


class BlockedError(MCPError):
    """The tool is not what was accepted; nothing was called."""


class UnknownOutcomeError(MCPError):
    """It may have been called."""


class CallRecord(BaseModel):
    """One call. `name` is the server's own for it; what does not exist, or may not be seen, has the asked one and no
    server. Sizes in bytes; `trace` is a W3C trace id."""

    at: str
    caller: str
    kind: Kind
    server: str | None
    name: str
    arguments: list[str]
    bytes_in: int
    bytes_out: int = 0
    outcome: Outcome = "ok"
    duration_ms: float = 0.0
    trace: str | None = None


class Calls(BaseModel):
    calls: list[CallRecord]


class Call:
    """A call under way."""

    def __init__(self, record: CallRecord) -> None:
        self.record = record

    def at(self, server: str, name: str) -> None:
        """Which server's it is."""
        self.record.server, self.record.name = server, name

    def answered(self, result: BaseModel, *, is_error: bool = False) -> None:
        self.record.bytes_out = _size(result)
        self.record.outcome = "error" if is_error else "ok"


class Audit:
    """`limits` are told of and held to by the same calls."""

    def __init__(self, shared: Shared, metrics: Metrics, limits: Limits) -> None:
        self.limits = limits
        self._shared = shared
        self._metrics = metrics
        self._latest: deque[CallRecord] = deque(maxlen=KEPT)
        self._untold: deque[CallRecord] = deque(maxlen=KEPT)

    @contextmanager
    def call(self, caller: str, kind: Kind, asked: str, arguments: Mapping[str, Any] | None) -> Iterator[Call]:
        """A call from its first step to its last, whatever becomes of it. Raises `LimitedError`."""
        given = arguments or {}
        call = Call(
            CallRecord(
                at=now(),
                caller=caller,
                kind=kind,
                server=None,
                name=asked[:MAX_NAME_CHARACTERS],
                arguments=[name[:MAX_NAME_CHARACTERS] for name in list(given)[:MAX_NAMES]],
                bytes_in=len(json.dumps(given, ensure_ascii=False, default=str).encode(errors="replace")),
                trace=_trace(),
            )
        )
        started = time.perf_counter()
        try:
            with self.limits.call("caller", caller):
                yield call
        except BaseException as error:
            call.record.outcome = _outcome(error)
            raise
        finally:
            self._ended(call.record, time.perf_counter() - started)

    def _ended(self, record: CallRecord, seconds: float) -> None:
        record.duration_ms = round(seconds * 1000, 1)
        self._latest.append(record)
        self._untold.append(record)
        tool = record.name if record.server is not None and record.kind == "tool" else NOBODYS
        if record.kind != "agent":
            self._metrics.mcp_request(record.server or NOBODYS, tool, record.outcome, seconds)
        log.info("mcp call", extra={**record.model_dump(exclude={"at", "name"}), "tool": record.name})

    async def recent(self) -> list[CallRecord]:
        """The latest calls of all replicas, latest first; of this one only where Redis is away."""
        await self.flush()
        replies = await self._shared.use(("LRANGE", self._shared.key("calls"), 0, KEPT - 1))
        if replies is None:
            return list(reversed(self._latest))
        return [record for text in replies[0] if (record := _read(text)) is not None]

    async def work(self) -> None:
        """Tells the other replicas, as long as there is something to tell."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()
            await self.limits.tell()

    async def flush(self) -> None:
        if not self._untold:
            return
        told = list(self._untold)
        self._untold.clear()
        key = self._shared.key("calls")
        texts = [record.model_dump_json() for record in told]
        await self._shared.use(("LPUSH", key, *texts), ("LTRIM", key, 0, KEPT - 1))


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, LimitedError):
        return "limited"
    if isinstance(error, RefusedError):
        return "refused"
    if isinstance(error, BlockedError):
        return "blocked"
    if isinstance(error, UnknownOutcomeError):
        return "unknown"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"


def _trace() -> str | None:
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def _read(text: str) -> CallRecord | None:
    try:
        return CallRecord.model_validate_json(text)
    except ValidationError:
        # Of a version that wrote otherwise.
        return None


def _size(result: BaseModel) -> int:
    """Bytes of the texts and data of an answer: what of it can be large."""
    size, left = 0, [result.model_dump()]
    while left:
        value: Any = left.pop()
        if isinstance(value, str):
            size += len(value.encode(errors="replace"))
        elif isinstance(value, Mapping):
            left.extend(value.values())
        elif isinstance(value, list | tuple):
            left.extend(value)
    return size
