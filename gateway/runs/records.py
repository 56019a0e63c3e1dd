"""The records of runs: in this process always, in Redis while it is there, so that every replica can show every run."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from redis.asyncio import Redis

from gateway.runs.record import RunRecord, now
from gateway.runs.shared import Shared

KEPT_HERE = 500
KEPT_RECENT = 50
KEPT_SECONDS = 24 * 3600
# A replica that has not said so for this long is gone, and so are its runs.
ALIVE_SECONDS = 15
BEAT_SECONDS = 4.0


class Records:
    def __init__(self, shared: Shared, replica: str) -> None:
        self._shared = shared
        self._replica = replica
        self._here: OrderedDict[str, RunRecord] = OrderedDict()

    async def save(self, record: RunRecord) -> None:
        self._here[record.id] = record
        self._here.move_to_end(record.id)
        while len(self._here) > KEPT_HERE:
            self._here.popitem(last=False)

        async def write(redis: Redis) -> None:
            recent = self._shared.key("recent")
            async with redis.pipeline(transaction=False) as pipe:
                pipe.set(self._shared.key("run", record.id), record.model_dump_json(), ex=KEPT_SECONDS)
                pipe.lrem(recent, 1, record.id)
                pipe.lpush(recent, record.id)
                pipe.ltrim(recent, 0, KEPT_RECENT - 1)
                await pipe.execute()

        await self._shared.use(write, None)

    async def get(self, run: str) -> RunRecord | None:
        """The record, whichever replica ran it; that of a replica that died is closed as failed."""
        if (here := self._here.get(run)) is not None:
            return here

        async def read(redis: Redis) -> RunRecord | None:
            text = await redis.get(self._shared.key("run", run))
            return None if text is None else await self._closed_if_lost(redis, RunRecord.model_validate_json(text))

        return await self._shared.use(read, None)

    async def recent(self) -> list[RunRecord]:
        """The latest runs of all replicas, latest first; of this one only when Redis is away."""

        async def read(redis: Redis) -> list[RunRecord] | None:
            runs = await redis.lrange(self._shared.key("recent"), 0, KEPT_RECENT - 1)
            texts = await redis.mget([self._shared.key("run", str(run)) for run in runs]) if runs else []
            found = [RunRecord.model_validate_json(text) for text in texts if text is not None]
            return [await self._closed_if_lost(redis, record) for record in found]

        shared = await self._shared.use(read, None)
        return list(reversed(self._here.values()))[:KEPT_RECENT] if shared is None else shared

    async def beat(self) -> None:
        """Says again and again that this replica lives. Ends by cancellation."""
        while True:
            await self._shared.use(lambda redis: redis.set(self._alive(self._replica), now(), ex=ALIVE_SECONDS), None)
            await asyncio.sleep(BEAT_SECONDS)

    async def ask_to_cancel(self, run: str) -> None:
        """Leaves word for the replica that has the run."""
        await self._shared.use(lambda redis: redis.set(self._shared.key("cancel", run), "1", ex=KEPT_SECONDS), None)

    async def asked_to_cancel(self, runs: Iterable[str]) -> list[str]:
        names = list(runs)
        if not names:
            return []
        keys = [self._shared.key("cancel", run) for run in names]

        async def read(redis: Redis) -> list[bool]:
            return [word is not None for word in await redis.mget(keys)]

        words = await self._shared.use(read, [False] * len(keys))
        return [run for run, word in zip(names, words, strict=True) if word]

    async def remember_key(self, name: str, run: str) -> str:
        """The run that an idempotency key stands for: `run`, unless another was first."""

        async def claim(redis: Redis) -> str:
            key = self._shared.key("once", name)
            if await redis.set(key, run, nx=True, ex=KEPT_SECONDS):
                return run
            return str(await redis.get(key) or run)

        return await self._shared.use(claim, run)

    async def _closed_if_lost(self, redis: Redis, record: RunRecord) -> RunRecord:
        if record.has_ended or record.replica == self._replica or await redis.exists(self._alive(record.replica)):
            return record
        closed = record.model_copy(
            update={"status": "failed", "error": "the replica that ran it is gone", "ended": now()}
        )
        await redis.set(self._shared.key("run", record.id), closed.model_dump_json(), ex=KEPT_SECONDS)
        return closed

    def _alive(self, replica: str) -> str:
        return self._shared.key("replica", replica)
