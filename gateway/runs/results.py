"""Results by the hash of everything that made them, and who is making one right now."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.runs.shared import Shared
from gateway.runs.shelves import Shelf

# A flight whose replica died is taken over after this long; a living one renews it.
FLIGHT_SECONDS = 10
LOOK_AGAIN_SECONDS = 0.1


def digest(*parts: Any) -> str:
    """A hash of the parts (anything JSON has) in their order, the same for equal parts only."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Results:
    """The cache in Redis, for `ttl_seconds`; 0 turns it off. Without Redis nothing is remembered.

    All callers share its room: what it forgets is made again.
    """

    def __init__(self, shared: Shared, shelf: Shelf, ttl_seconds: int) -> None:
        self._shared = shared
        self._shelf = shelf
        self._ttl = ttl_seconds

    async def get(self, key: str) -> str | None:
        if not self._ttl:
            return None
        replies = await self._shared.use(("GET", self._shared.key("result", key)))
        return None if replies is None or replies[0] is None else str(replies[0])

    async def put(self, key: str, output: str) -> None:
        size = len(output.encode())
        if not self._ttl or not self._shelf.fits(size):
            return
        name = self._shared.key("result", key)
        replies = await self._shared.use(
            self._shelf.note("all", name, size, self._ttl), ("SET", name, output, "EX", self._ttl)
        )
        if replies is not None:
            self._shelf.told(replies[0])

    @asynccontextmanager
    async def flight(self, key: str, run: str) -> AsyncIterator[str | None]:
        """Yields None to the one replica that is to make the result, to the others the result once it is made."""
        name = self._shared.key("flight", key)
        made = await self._take_off(name, key, run)
        if made is not None:
            yield made
            return
        landed = asyncio.Event()
        renewing = asyncio.create_task(self._renew(name, landed))
        try:
            yield None
        finally:
            # Told, not cancelled: the time-outs of the Redis client can swallow a cancellation, and then this would
            # wait for ever (aio-libs/async-timeout#229 before Python 3.11.3; seen with 3.11.7 on a starved machine).
            landed.set()
            await renewing
            await self._shared.use(("DEL", name))

    async def _take_off(self, name: str, key: str, run: str) -> str | None:
        """None when the flight is this run's, the result when another's has landed."""
        # Without a cache there is nothing to wait for.
        while self._ttl:
            # Asked after the claim: whoever landed since the caller looked has left a result, and no claim.
            claim = ("SET", name, run, "NX", "EX", FLIGHT_SECONDS)
            replies = await self._shared.use(claim, ("GET", self._shared.key("result", key)))
            if replies is None:
                # Without Redis there are no others.
                return None
            claimed, made = replies
            if made is not None:
                if claimed is not None:
                    await self._shared.use(("DEL", name))
                return str(made)
            if claimed is not None:
                return None
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return None

    async def _renew(self, name: str, landed: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(FLIGHT_SECONDS / 3):
                    await landed.wait()
                return
            except TimeoutError:
                await self._shared.use(("EXPIRE", name, FLIGHT_SECONDS))
