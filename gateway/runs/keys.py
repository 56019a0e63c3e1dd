"""Idempotency keys: each stands for the run that answered, and keeps its record, whichever replica is asked again.

A key is first claimed for a moment, by the request that came with it, and named for a day once its run begins. So a
run that never began (refused, cancelled while it waited, or gone with its replica) leaves no key behind.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from gateway.runs.record import RunRecord
from gateway.runs.shared import Shared
from gateway.runs.shelves import Shelf
from gateway.runs.stores import Command, StoreError

# A claim is renewed while its run waits; one whose replica died lapses.
CLAIM_SECONDS = 15
KEPT_SECONDS = 24 * 3600
_OWNER_LENGTH = 32

_WRITE = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")


class KeyReused(Exception):
    """The key was used with another question."""


@dataclass(frozen=True)
class Claim:
    """A key that one request has for itself. `asked` is the hash of its question."""

    key: str
    owner: str
    caller: str
    asked: str


class _Kept(BaseModel):
    """A key's value, after its owner: `record` as it was last told, None while the key is only claimed."""

    asked: str
    record: RunRecord | None = None


class Keys:
    def __init__(self, shared: Shared, shelf: Shelf) -> None:
        self._shared = shared
        self._shelf = shelf
        self._claimed: set[Claim] = set()
        # How a run ended, where Redis was not told because it was away just then.
        self._behind: dict[Claim, RunRecord] = {}

    def draft(self, caller: str, agent: str, word: str, asked: str) -> Claim:
        """What to claim `word` with: keys of two callers, or for two agents, have nothing to do with each other."""
        name = hashlib.sha256(f"{caller}\0{agent}\0{word}".encode()).hexdigest()
        return Claim(self._shared.key("once", name), uuid.uuid4().hex, caller, asked)

    async def claim(self, claim: Claim) -> RunRecord | bool:
        """True when the key is now the claim's own, the record of the run it stands for, or False when another request
        has claimed it and no run has begun. Raises `KeyReused` or `StoreError`."""
        value = claim.owner + _Kept(asked=claim.asked).model_dump_json()
        _, held = await self._shared.need(("SET", claim.key, value, "NX", "EX", CLAIM_SECONDS), ("GET", claim.key))
        if held is None:
            return False
        entry = _Kept.model_validate_json(held[_OWNER_LENGTH:])
        if entry.asked != claim.asked:
            raise KeyReused
        if held.startswith(claim.owner):
            self._claimed.add(claim)
            return True
        ended = (record for other, record in self._behind.items() if held.startswith(other.owner))
        return next(ended, entry.record) or False

    async def keep(self, claim: Claim, record: RunRecord) -> bool:
        """The key stands for this run from now on; False when it is another's by now. Raises `StoreError`."""
        text = _Kept(asked=claim.asked, record=record).model_dump_json()
        if not self._shelf.fits(len(text.encode())):
            note = "the output is too long to be kept for an Idempotency-Key"
            text = _Kept(
                asked=claim.asked, record=record.model_copy(update={"output": None, "note": note})
            ).model_dump_json()
        forgotten, is_ours = await self._shared.need(
            self._shelf.note(claim.caller, claim.key, len(text.encode()), KEPT_SECONDS),
            _write(claim, text, KEPT_SECONDS),
        )
        self._shelf.told(forgotten)
        self._claimed.discard(claim)
        self._behind.pop(claim, None)
        return bool(is_ours)

    async def keep_soon(self, claim: Claim, record: RunRecord) -> None:
        """As `keep`, now or when Redis is back."""
        try:
            await self.keep(claim, record)
        except StoreError:
            self._claimed.discard(claim)
            self._behind[claim] = record

    async def release(self, claim: Claim) -> None:
        """No run came of it: the key is free again, at the latest when the claim lapses."""
        self._claimed.discard(claim)
        await self._shared.use(_write(claim, "", 0))

    async def beat(self) -> None:
        """Renews the claims of runs that wait, and catches up on what Redis was not told."""
        if self._claimed:
            text = {claim: _Kept(asked=claim.asked).model_dump_json() for claim in self._claimed}
            await self._shared.use(*(_write(claim, text[claim], CLAIM_SECONDS) for claim in text))
        for claim, record in tuple(self._behind.items()):
            await self.keep_soon(claim, record)
            if claim in self._behind:
                return


def _write(claim: Claim, rest: str, seconds: int) -> Command:
    return ("EVAL", _WRITE, 1, claim.key, claim.owner, rest, seconds * 1000)
