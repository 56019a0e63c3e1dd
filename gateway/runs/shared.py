"""The store as something that may be away: after a failure it is left alone for a moment."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from redis.asyncio import Redis

from gateway.plan import Plan
from gateway.runs.stores import Command, RedisStore, RestStore, Store, StoreError, is_rest

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
# Part of every key. Changed when keys change their meaning: those of an earlier layout are deleted.
LAYOUT = "2"
_SCANNED = 1000


class Shared:
    """What the replicas of a stack share. `problem` is why it was not used last time, None when it was."""

    def __init__(self, store: Store | None, prefix: str) -> None:
        self.prefix = prefix
        self.problem: str | None = None if store else "no Redis in the plan"
        self._store = store
        self._from = 0.0

    @property
    def redis(self) -> Redis | None:
        """Redis itself, None where there is none or only its REST."""
        return self._store.redis if isinstance(self._store, RedisStore) else None

    def key(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))

    async def need(self, *commands: Command) -> list[Any]:
        """The replies in order. Raises `StoreError` when the store is away, refuses, or was away a moment ago."""
        if self._store is None or time.monotonic() < self._from:
            raise StoreError(self.problem or "not used for a moment")
        try:
            replies = await self._store.execute(commands)
        except StoreError as error:
            if self.problem is None:
                log.warning("Redis is not used: %s", error)
            self.problem = str(error)
            self._from = time.monotonic() + RETRY_SECONDS
            raise
        self.problem = None
        return replies

    async def use(self, *commands: Command) -> list[Any] | None:
        """As `need`, but None instead of an error: for what a run can do without."""
        try:
            return await self.need(*commands)
        except StoreError:
            return None

    async def tidy(self) -> None:
        """Deletes what an earlier layout left, once for all replicas and as soon as the store is there: nothing bounds
        it, and Redis evicts nothing."""
        while self._store is not None:
            try:
                await self._delete_earlier()
                return
            except StoreError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _delete_earlier(self) -> None:
        (is_tidy,) = await self.need(("EXISTS", self.key("tidy")))
        of_stack, cursor = self.prefix.removesuffix(f":{LAYOUT}"), "0"
        while not is_tidy:
            ((cursor, keys),) = await self.need(("SCAN", cursor, "MATCH", f"{of_stack}:*", "COUNT", _SCANNED))
            if earlier := [key for key in keys if not key.startswith(f"{self.prefix}:")]:
                await self.need(("UNLINK", *earlier))
            is_tidy = str(cursor) == "0"
        # Last, since a full Redis takes it only then.
        await self.need(("SET", self.key("tidy"), "1"))

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()


def connect(plan: Plan) -> Shared:
    """The plan's Redis by its protocol or by Upstash's REST, or none."""
    # The braces keep all keys of a stack on one node of a cluster, which the ledger's script needs.
    prefix = f"{{promptcraft:{plan.project}:{plan.stack}}}:{LAYOUT}"
    for service in plan.used("redis").values():
        assert service.endpoint is not None
        return Shared(RestStore(service) if is_rest(service.endpoint) else RedisStore(service), prefix)
    return Shared(None, prefix)
