"""An answer leaves in one piece: a replica that is killed has sent all of it, or nothing."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.serve import _Together


class Wire:
    """A transport that remembers what it was told to send, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.pieces.append(b"closed")


async def sent(close: bool) -> list[bytes]:
    wire = Wire()
    together = _Together(cast(asyncio.Transport, wire), asyncio.get_running_loop())
    together.write(b"head ")
    together.write(b"body")
    if close:
        together.close()
    await asyncio.sleep(0)
    together.write(b"next")
    await asyncio.sleep(0)
    return wire.pieces


def test_what_is_written_in_one_turn_is_sent_in_one_piece() -> None:
    assert asyncio.run(sent(close=False)) == [b"head body", b"next"]


def test_what_was_written_is_sent_before_the_end() -> None:
    assert asyncio.run(sent(close=True))[:2] == [b"head body", b"closed"]
