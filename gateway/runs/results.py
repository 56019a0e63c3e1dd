"""Results by the hash of everything that made them, and who is making one right now."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis

from gateway.runs.shared import Shared

# A flight whose replica died is taken over after this long; a living one renews it.
FLIGHT_SECONDS = 10
LOOK_AGAIN_SECONDS = 0.1


def digest(*parts: str | None) -> str:
    """A hash of the parts in their order, the same for equal parts only."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Results:
    """The cache in Redis, for `ttl_seconds`; 0 turns it off. Without Redis nothing is remembered."""

    def __init__(self, shared: Shared, ttl_seconds: int) -> None:
        self._shared = shared
        self._ttl = ttl_seconds

    async def get(self, key: str) -> str | None:
        if not self._ttl:
            return None

        async def read(redis: Redis) -> str | None:
            value = await redis.get(self._shared.key("result", key))
            return None if value is None else str(value)

        return await self._shared.use(read, None)

    async def put(self, key: str, output: str) -> None:
        if not self._ttl:
            return

        async def write(redis: Redis) -> None:
            await redis.set(self._shared.key("result", key), output, ex=self._ttl)

        await self._shared.use(write, None)

    @asynccontextmanager
    async def flight(self, key: str, run: str) -> AsyncIterator[str | None]:
        """Yields None to the one replica that is to make the result, to the others the result once it is made."""
        name = self._shared.key("flight", key)

        async def claim(redis: Redis) -> bool:
            return bool(await redis.set(name, run, nx=True, ex=FLIGHT_SECONDS))

        # Without a cache the others would have nothing to wait for; without Redis there are no others.
        while self._ttl and not await self._shared.use(claim, True):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            if (made := await self.get(key)) is not None:
                yield made
                return
        renewing = asyncio.create_task(self._renew(name))
        try:
            yield None
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            await self._shared.use(lambda redis: redis.delete(name), 0)

    async def _renew(self, name: str) -> None:
        while True:
            await asyncio.sleep(FLIGHT_SECONDS / 3)
            await self._shared.use(lambda redis: redis.expire(name, FLIGHT_SECONDS), False)
