"""The records of runs: in this process always, in Redis while it is there, so that every replica can show every run."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from gateway.runs.record import RunRecord, now
from gateway.runs.shared import Shared
from gateway.runs.stores import Command

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
        self._under_way: set[str] = set()
        # What Redis was not told, because it was away just then: others would see such a run as it was before.
        self._behind: set[str] = set()

    async def save(self, record: RunRecord) -> None:
        self._here[record.id] = record
        self._here.move_to_end(record.id)
        while len(self._here) > KEPT_HERE:
            self._here.popitem(last=False)
        commands: list[Command] = []
        if record.has_ended:
            self._under_way.discard(record.id)
        else:
            self._under_way.add(record.id)
            # Before the record, so that nobody sees a run whose replica is not known to live.
            commands.append(self._sign_of_life())
        recent = self._shared.key("recent")
        written = await self._shared.use(
            *commands,
            ("SET", self._shared.key("run", record.id), record.model_dump_json(), "EX", KEPT_SECONDS),
            ("LREM", recent, 1, record.id),
            ("LPUSH", recent, record.id),
            ("LTRIM", recent, 0, KEPT_RECENT - 1),
        )
        if written is None:
            self._behind.add(record.id)
        else:
            self._behind.discard(record.id)

    async def get(self, run: str) -> RunRecord | None:
        """The record, whichever replica ran it; that of a replica that died is closed as failed."""
        if (here := self._here.get(run)) is not None:
            return here
        replies = await self._shared.use(("GET", self._shared.key("run", run)))
        if replies is None or replies[0] is None:
            return None
        return await self._closed_if_lost(RunRecord.model_validate_json(replies[0]))

    async def recent(self) -> list[RunRecord]:
        """The latest runs of all replicas, latest first; of this one only when Redis is away."""
        shared = await self._recent_of_all()
        return list(reversed(self._here.values()))[:KEPT_RECENT] if shared is None else shared

    async def beat(self) -> None:
        """Says again and again that this replica lives, while it has runs that others may ask for, and catches up on
        what Redis was not told."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            # At rest it says nothing: Upstash bills by the command.
            if self._under_way:
                await self._shared.use(self._sign_of_life())
            await self._catch_up()

    async def _catch_up(self) -> None:
        for run in tuple(self._behind):
            if (record := self._here.get(run)) is None:
                self._behind.discard(run)
                continue
            await self.save(record)
            if run in self._behind:
                return

    async def ask_to_cancel(self, run: str) -> None:
        """Leaves word for the replica that has the run."""
        await self._shared.use(("SET", self._shared.key("cancel", run), "1", "EX", KEPT_SECONDS))

    async def asked_to_cancel(self, runs: Iterable[str]) -> list[str]:
        names = list(runs)
        if not names:
            return []
        replies = await self._shared.use(("MGET", *(self._shared.key("cancel", run) for run in names)))
        words = [None] * len(names) if replies is None else replies[0]
        return [run for run, word in zip(names, words, strict=True) if word is not None]

    async def remember_key(self, name: str, run: str) -> str:
        """The run that an idempotency key stands for: `run`, unless another was first."""
        key = self._shared.key("once", name)
        replies = await self._shared.use(("SET", key, run, "NX", "EX", KEPT_SECONDS), ("GET", key))
        return run if replies is None else str(replies[1] or run)

    async def _recent_of_all(self) -> list[RunRecord] | None:
        replies = await self._shared.use(("LRANGE", self._shared.key("recent"), 0, KEPT_RECENT - 1))
        if replies is None:
            return None
        runs: list[str] = replies[0]
        if not runs:
            return []
        texts = await self._shared.use(("MGET", *(self._shared.key("run", run) for run in runs)))
        if texts is None:
            return None
        found = [RunRecord.model_validate_json(text) for text in texts[0] if text is not None]
        return [await self._closed_if_lost(record) for record in found]

    async def _closed_if_lost(self, record: RunRecord) -> RunRecord:
        if record.has_ended or record.replica == self._replica:
            return record
        alive = await self._shared.use(("EXISTS", self._alive(record.replica)))
        if alive is None or alive[0]:
            return record
        closed = record.model_copy(
            update={"status": "failed", "error": "the replica that ran it is gone", "ended": now()}
        )
        await self._shared.use(
            ("SET", self._shared.key("run", record.id), closed.model_dump_json(), "EX", KEPT_SECONDS)
        )
        return closed

    def _sign_of_life(self) -> Command:
        return ("SET", self._alive(self._replica), now(), "EX", ALIVE_SECONDS)

    def _alive(self, replica: str) -> str:
        return self._shared.key("replica", replica)
