"""Where a run waits for its slot, keeps its lease while it runs, and gives it back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.exceptions import RedisError

from gateway.runs.slots import LEASE_SECONDS, Ledger, LocalLedger, SlotLimits, Standing

log = logging.getLogger(__name__)

# How soon a freed slot is noticed by another replica.
WAITING_TICK_SECONDS = 0.05
HOLDING_TICK_SECONDS = LEASE_SECONDS / 4
RETRY_SECONDS = 1.0
# So long nothing is granted once Redis fails: a pause of Redis must not let every replica go by itself.
PATIENCE_SECONDS = 2.0


class QueueFull(Exception):
    """Too many runs wait already."""


class WaitedTooLong(Exception):
    """No slot came free in time."""


class Desk:
    """One a process. `problem` says why the limits hold for this replica only, None when they hold for all."""

    def __init__(self, limits: SlotLimits, shared: Ledger | None, queue_seconds: float) -> None:
        self.limits = limits
        self.standing = Standing()
        self.problem: str | None = None if shared else "no Redis in the plan whose own protocol could be spoken"
        self._queue_seconds = queue_seconds
        self._shared = shared
        self._local = LocalLedger(limits)
        self._shared_from = 0.0
        self._failing_from: float | None = None
        self._waiting: dict[str, tuple[str, asyncio.Future[None]]] = {}
        self._holding: dict[str, str] = {}
        self._released: list[str] = []
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def slot(self, run: str, model: str) -> AsyncIterator[None]:
        """Waits for a slot and holds it. Raises `QueueFull` or `WaitedTooLong`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[run] = (model, turn)
        self._wake.set()
        try:
            try:
                async with asyncio.timeout(self._queue_seconds):
                    await turn
            except TimeoutError as error:
                raise WaitedTooLong(f"no slot came free within {self._queue_seconds:g} s") from error
            yield
        finally:
            self._waiting.pop(run, None)
            self._holding.pop(run, None)
            self._released.append(run)
            self._wake.set()

    async def work(self) -> None:
        """Settles with the ledger: at once when something changes here, regularly otherwise. Ends by cancellation."""
        while True:
            self._wake.clear()
            await self._settle()
            pause = WAITING_TICK_SECONDS if self._waiting else HOLDING_TICK_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _settle(self) -> None:
        waiting = {run: model for run, (model, _) in self._waiting.items()}
        released, self._released = self._released, []
        self.standing = await self._ask(waiting, released)
        for run in self.standing.granted:
            if run in self._waiting:
                model, turn = self._waiting.pop(run)
                self._holding[run] = model
                if not turn.done():
                    turn.set_result(None)
                log.debug("slot granted", extra={"model": model, "decision": "granted"})
            else:
                # Given up while the ledger was asked.
                self._released.append(run)
                self._wake.set()
        for run in self.standing.refused:
            if run in self._waiting:
                model, turn = self._waiting.pop(run)
                if not turn.done():
                    turn.set_exception(QueueFull(f"{self.limits.queue} runs wait already"))
                log.debug("queue is full", extra={"model": model, "decision": "refused"})

    async def _ask(self, waiting: dict[str, str], released: list[str]) -> Standing:
        if self._shared is not None and time.monotonic() >= self._shared_from:
            asked = time.monotonic()
            try:
                standing = await self._shared.settle(waiting, self._holding, released)
            except (RedisError, OSError) as error:
                now = time.monotonic()
                self._failing_from = self._failing_from or asked
                if now - self._failing_from < PATIENCE_SECONDS:
                    # Neither granted nor released here; what Redis did grant unheard lapses with its lease.
                    self._released += released
                    return Standing(running=self.standing.running, waiting=len(waiting))
                if self.problem is None:
                    log.warning("limits hold for this replica only: %s", error)
                self.problem = f"Redis does not answer: {error}"
                self._shared_from = now + RETRY_SECONDS
            else:
                if self.problem is not None:
                    log.warning("limits hold for all replicas again")
                self.problem = None
                self._failing_from = None
                return standing
        return await self._local.settle(waiting, self._holding, released)
