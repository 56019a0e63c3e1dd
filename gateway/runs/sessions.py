"""Conversations: the latest turns of each in Redis, so that every replica can go on with any of them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from gateway.runs.shared import Shared
from gateway.runs.shelves import Shelf


class Turn(BaseModel):
    """One run of a session: what was asked, what was answered, by which agent."""

    run: str
    agent: str
    at: str
    input: str
    output: str


class Sessions:
    """At most `turns` turns and `max_bytes` bytes of JSON a session, for `seconds` after its last turn.

    A session is its caller's: another's of the same name is another, and takes no room of it.
    """

    def __init__(self, shared: Shared, shelf: Shelf, turns: int, max_bytes: int, seconds: int) -> None:
        self._shared = shared
        self._shelf = shelf
        self._turns = turns
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def get(self, caller: str, session: str) -> list[Turn]:
        """The turns kept, oldest first; none for an unknown session. Raises `StoreError`."""
        (texts,) = await self._shared.need(("LRANGE", self._key(caller, session), 0, -1))
        return [Turn.model_validate_json(text) for text in texts]

    async def add(self, caller: str, session: str, turn: Turn) -> None:
        """Adds a turn and forgets the oldest beyond the bounds. Raises `StoreError`."""
        key, text = self._key(caller, session), self._fitted(turn).model_dump_json()
        (before,) = await self._shared.need(("LRANGE", key, 0, -1))
        texts = [*before, text]
        kept = self._fitting(texts)
        size = sum(len(one.encode()) for one in texts[-kept:])
        forgotten, *_ = await self._shared.need(
            self._shelf.note(caller, key, size, self._seconds),
            ("RPUSH", key, text),
            ("LTRIM", key, -kept, -1),
            ("EXPIRE", key, self._seconds),
        )
        self._shelf.told(forgotten)

    async def forget(self, caller: str, session: str) -> None:
        """Raises `StoreError`."""
        key = self._key(caller, session)
        await self._shared.need(("DEL", key), self._shelf.dropped(caller, key))

    def _fitting(self, texts: Sequence[str]) -> int:
        # How many of the latest fit; the last one always does.
        size = 0
        for kept, text in enumerate(reversed(texts[-self._turns :])):
            size += len(text.encode())
            if size > self._max_bytes and kept:
                return kept
        return min(len(texts), self._turns)

    def _fitted(self, turn: Turn) -> Turn:
        # A turn that is too long by itself is kept from its beginning: the question whole as far as it fits.
        room = self._max_bytes // 2
        return turn.model_copy(update={"input": _first(turn.input, room), "output": _first(turn.output, room)})

    def _key(self, caller: str, session: str) -> str:
        return self._shared.key("session", caller, session)


def conversation(prompt: str, turns: Sequence[Turn], text: str) -> str:
    """What the tool is sent: the agent's prompt, the earlier turns, and what is asked now."""
    if turns:
        told = "\n\n".join(f"User: {turn.input}\n\nYou: {turn.output}" for turn in turns)
        text = f"The conversation so far:\n\n{told}\n\nNow the user says:\n\n{text}"
    return f"{prompt}\n\n{text}" if prompt else text


def _first(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore")
