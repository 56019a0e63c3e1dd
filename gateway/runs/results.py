"""Results by the hash of everything that made them, and who is making one right now."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.runs.shared import Shared

# A flight whose replica died is taken over after this long; a living one renews it.
FLIGHT_SECONDS = 10
LOOK_AGAIN_SECONDS = 0.1


def digest(*parts: Any) -> str:
    """A hash of the parts (anything JSON has) in their order, the same for equal parts only."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Results:
    """The cache in Redis, for `ttl_seconds`; 0 turns it off. Without Redis nothing is remembered."""

    def __init__(self, shared: Shared, ttl_seconds: int) -> None:
        self._shared = shared
        self._ttl = ttl_seconds

    async def get(self, key: str) -> str | None:
        if not self._ttl:
            return None
        replies = await self._shared.use(("GET", self._shared.key("result", key)))
        return None if replies is None or replies[0] is None else str(replies[0])

    async def put(self, key: str, output: str) -> None:
        if self._ttl:
            await self._shared.use(("SET", self._shared.key("result", key), output, "EX", self._ttl))

    @asynccontextmanager
    async def flight(self, key: str, run: str) -> AsyncIterator[str | None]:
        """Yields None to the one replica that is to make the result, to the others the result once it is made."""
        name = self._shared.key("flight", key)
        # Without a cache the others would have nothing to wait for.
        while self._ttl and not await self._claim(name, run):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            if (made := await self.get(key)) is not None:
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

    async def _claim(self, name: str, run: str) -> bool:
        replies = await self._shared.use(("SET", name, run, "NX", "EX", FLIGHT_SECONDS))
        # Without Redis there are no others.
        return replies is None or replies[0] is not None

    async def _renew(self, name: str, landed: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(FLIGHT_SECONDS / 3):
                    await landed.wait()
                return
            except TimeoutError:
                await self._shared.use(("EXPIRE", name, FLIGHT_SECONDS))
