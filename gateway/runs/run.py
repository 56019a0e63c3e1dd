"""A run under way: what was asked, how it goes, and the events that tell of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import ApiError
from gateway.room import refused_for_now
from gateway.runs.desk import QueueFull, WaitedTooLong
from gateway.runs.keys import Claim
from gateway.runs.record import RunRecord, Status, now
from gateway.runs.way import AnswerError, Prepared

log = logging.getLogger(__name__)

Event = tuple[str, dict[str, Any]]
Flown = tuple[str, str, str | None]
"""What equal runs have in common: the hash of what makes the answer, and the conversation, if any, that it goes to."""


@dataclass(frozen=True)
class Question:
    """What a caller wants of an agent. `arguments` go to the tool beside the gateway's own; `key` is the caller's
    Idempotency-Key, which stands for the run."""

    caller: str
    agent: str
    text: str
    session: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True)
class Call:
    """A question made ready: how it is answered, and the hash of all that makes the answer."""

    question: Question
    prepared: Prepared
    is_metered: bool
    key: str
    flown: Flown


class Run:
    """A run under way in this process: its record as it changes, and the events that tell of it."""

    def __init__(self, record: RunRecord, caller: str) -> None:
        self.record = record
        self.caller = caller
        self.refusal: ApiError | None = None
        # The Idempotency-Keys that stand for it, of its own request and of those that joined.
        self.claims: list[Claim] = []
        # Whether a tool or a model may have been asked, so that its keys must not lead to another run.
        self.is_spent = False
        self.task: asyncio.Task[None] | None = None
        # How many wait for it and would have it cancelled if all of them went away; None once somebody wants it anyway.
        self._awaiting: int | None = 0
        self._has_begun = False
        self._stopped: tuple[Status, str] | None = None
        self._events: list[Event] = []
        self._changed = asyncio.Event()
        self._begun = time.perf_counter()

    def tell(self, name: str, **data: Any) -> None:
        self._events.append((name, data))
        self._changed.set()
        self._changed = asyncio.Event()

    def change(self, status: Status, **fields: Any) -> None:
        self.record = self.record.model_copy(update={"status": status, **fields})

    def stop(self, status: Status, why: str) -> None:
        """Ends the run as `status`, whatever its cancelled parts raise on their way out."""
        # Once only: a second cancellation would cut short what the first one makes it clear away.
        if self.task is None or self._stopped is not None:
            return
        self._stopped = (status, why)
        # A task that is cancelled before its first step never takes it, and would leave no record.
        if self._has_begun:
            self.task.cancel()

    def keep(self) -> None:
        """Somebody wants it to its end, whoever goes away."""
        self._awaiting = None

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """While somebody waits for it who may go away; with the last of them the run is cancelled."""
        if self._awaiting is not None:
            self._awaiting += 1
        try:
            yield
        except BaseException:
            if self._awaiting == 1:
                self.stop("cancelled", "nobody waits for it any more")
            raise
        finally:
            if self._awaiting is not None:
                self._awaiting -= 1

    def begin(self) -> None:
        self._has_begun = True
        self.go_on()

    def go_on(self) -> None:
        """Raises `CancelledError` where the run was stopped and a library kept its cancellation to itself."""
        if self._stopped is not None:
            raise asyncio.CancelledError

    def fail(self, error: BaseException) -> None:
        """Ends the run with what `error` means for it."""
        if self._stopped is not None:
            status, why = self._stopped
            self.end(status, error=why)
        elif isinstance(error, QueueFull | WaitedTooLong):
            code = "queue_full" if isinstance(error, QueueFull) else "queue_timeout"
            self.refusal = refused_for_now(429, code, str(error))
            self.end("failed", error=str(error))
        elif isinstance(error, ApiError):
            self.refusal = error
            self.end("failed", error=str(error.detail))
        elif isinstance(error, AnswerError):
            self.end("failed", error=str(error))
        else:
            log.error("unexpected error in a run", exc_info=error)
            self.end("failed", error="unexpected error; the log has it under the run's id")

    def end(self, status: Status, **fields: Any) -> None:
        milliseconds = round((time.perf_counter() - self._begun) * 1000, 1)
        self.change(status, duration_ms=milliseconds, ended=now(), **fields)

    async def events(self) -> AsyncIterator[Event]:
        """Every event from the first on; ends after `done`."""
        told = 0
        while True:
            changed = self._changed
            for event in self._events[told:]:
                yield event
                told += 1
                if event[0] == "done":
                    return
            await changed.wait()

    async def ended(self) -> RunRecord:
        """The record at the end. Raises `ApiError` when the run was refused."""
        async for _ in self.events():
            pass
        if self.refusal is not None:
            raise self.refusal
        return self.record
