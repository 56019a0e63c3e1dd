"""The records of runs: in this process always, in Redis while it is there, so that every replica can show every run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.runs.record import RunRecord, now
from gateway.runs.shared import Shared
from gateway.runs.shelves import Shelf
from gateway.runs.stores import Command

KEPT_HERE = 500
# Of the outputs kept here: a tool may answer with a million characters.
KEPT_HERE_CHARACTERS = 8_000_000
KEPT_RECENT = 50
KEPT_SECONDS = 24 * 3600
# A replica that has not said so for this long is gone, and so are its runs.
ALIVE_SECONDS = 15


@dataclass(frozen=True)
class _Kept:
    """A record, and whose it is."""

    record: RunRecord
    caller: str

    @property
    def characters(self) -> int:
        return len(self.record.output or "")


class Records:
    def __init__(self, shared: Shared, shelf: Shelf, replica: str) -> None:
        self._shared = shared
        self._shelf = shelf
        self._replica = replica
        self._here: OrderedDict[str, _Kept] = OrderedDict()
        self._characters = 0
        self._under_way: set[str] = set()
        # What Redis was not told, because it was away just then: others would see such a run as it was before.
        self._behind: set[str] = set()

    async def save(self, record: RunRecord, caller: str) -> None:
        self._keep_here(_Kept(record, caller))
        commands: list[Command] = []
        if record.has_ended:
            self._under_way.discard(record.id)
        else:
            self._under_way.add(record.id)
            # Before the record, so that nobody sees a run whose replica is not known to live.
            commands.append(self._sign_of_life())
        key, recent = self._shared.key("run", record.id), self._shared.key("recent")
        text = self._text(record)
        written = await self._shared.use(
            *commands,
            self._shelf.note(caller, key, len(text.encode()), KEPT_SECONDS),
            ("SET", key, text, "EX", KEPT_SECONDS),
            ("LREM", recent, 1, record.id),
            ("LPUSH", recent, record.id),
            ("LTRIM", recent, 0, KEPT_RECENT - 1),
        )
        if written is None:
            self._behind.add(record.id)
        else:
            self._behind.discard(record.id)
            self._shelf.told(written[len(commands)])

    def _keep_here(self, kept: _Kept) -> None:
        if (before := self._here.pop(kept.record.id, None)) is not None:
            self._characters -= before.characters
        self._here[kept.record.id] = kept
        self._characters += kept.characters
        while len(self._here) > KEPT_HERE or (self._characters > KEPT_HERE_CHARACTERS and len(self._here) > 1):
            _, oldest = self._here.popitem(last=False)
            self._characters -= oldest.characters

    def _text(self, record: RunRecord) -> str:
        text = record.model_dump_json()
        if self._shelf.fits(len(text.encode())):
            return text
        note = "the output is too long to be kept"
        return record.model_copy(update={"output": None, "note": note}).model_dump_json()

    async def get(self, run: str) -> RunRecord | None:
        """The record, whichever replica ran it; that of a replica that died is closed as failed."""
        if (here := self._here.get(run)) is not None:
            return here.record
        replies = await self._shared.use(("GET", self._shared.key("run", run)))
        if replies is None or replies[0] is None:
            return None
        return await self.closed_if_lost(RunRecord.model_validate_json(replies[0]))

    async def recent(self) -> list[RunRecord]:
        """The latest runs of all replicas, latest first; of this one only when Redis is away."""
        shared = await self._recent_of_all()
        if shared is not None:
            return shared
        return [kept.record for kept in list(reversed(self._here.values()))[:KEPT_RECENT]]

    async def beat(self) -> None:
        """To be called every few seconds: says that this replica lives, while it has runs that others may ask for, and
        catches up on what Redis was not told."""
        # At rest it says nothing: Upstash bills by the command.
        if self._under_way or self._behind:
            await self._shared.use(self._sign_of_life())
        await self._catch_up()

    async def _catch_up(self) -> None:
        for run in tuple(self._behind):
            if (kept := self._here.get(run)) is None:
                self._behind.discard(run)
                continue
            await self.save(kept.record, kept.caller)
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
        return [await self.closed_if_lost(record) for record in found]

    async def closed_if_lost(self, record: RunRecord) -> RunRecord:
        """The record, ended as failed where the replica that had the run is gone."""
        if not await self.is_lost(record):
            return record
        closed = lost(record)
        await self._shared.use(
            ("SET", self._shared.key("run", record.id), closed.model_dump_json(), "EX", KEPT_SECONDS, "XX")
        )
        return closed

    async def is_lost(self, record: RunRecord) -> bool:
        """Whether the replica that has the run has not said for long that it lives."""
        if record.has_ended or record.replica == self._replica:
            return False
        alive = await self._shared.use(("EXISTS", self._alive(record.replica)))
        return alive is not None and not alive[0]

    def _sign_of_life(self) -> Command:
        return ("SET", self._alive(self._replica), now(), "EX", ALIVE_SECONDS)

    def _alive(self, replica: str) -> str:
        return self._shared.key("replica", replica)


def lost(record: RunRecord) -> RunRecord:
    """The record of a run whose replica is gone."""
    return record.model_copy(update={"status": "failed", "error": "the replica that ran it is gone", "ended": now()})
