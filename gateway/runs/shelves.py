"""Room in Redis: how much is kept of each kind and for each caller, so that nobody pushes out what is another's.

Redis itself evicts nothing (`noeviction`): by its own policies it would take what was used least, whosever it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.callers import shelf_of
from gateway.runs.shared import Shared
from gateway.runs.stores import Command

# What an entry costs beside its value: its key, its place in both indexes, and Redis's own bookkeeping (measured: 560).
_ENTRY_BYTES = 640

_NOTE = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Shares:
    """Bytes of Redis by what they are for; all but the results' are each caller's own."""

    results: int
    records: int
    sessions: int
    keys: int


def shares(store_bytes: int, callers: int) -> Shares:
    """How `store_bytes` are shared out where so many callers are known."""
    return Shares(
        results=store_bytes // 3,
        records=store_bytes // 4 // callers,
        sessions=store_bytes // 4 // callers,
        keys=store_bytes // 6 // callers,
    )


class Shelf:
    """One kind of entries. What is older than others of the same caller goes first; `forgotten` is told how many."""

    def __init__(self, shared: Shared, kind: str, most: int, forgotten: Callable[[str, int], None]) -> None:
        self._shared = shared
        self._kind = kind
        self._most = most
        self._forgotten = forgotten

    def fits(self, size: int) -> bool:
        """Whether a value of so many bytes can be kept at all."""
        return _cost(size) <= self._most

    def note(self, caller: str, key: str, size: int, seconds: int) -> Command:
        """Makes room for an entry of `size` bytes that lasts so long; to be sent right before the entry itself. Its
        reply is for `told`."""
        return self._note(caller, key, _cost(size), seconds)

    def dropped(self, caller: str, key: str) -> Command:
        """An entry takes no room any more; the entry itself is the caller's to delete."""
        return self._note(caller, key, 0, 0)

    def _note(self, caller: str, key: str, size: int, seconds: int) -> Command:
        index = self._shared.key("shelf", self._kind, shelf_of(caller))
        names = (f"{index}:expiries", f"{index}:sizes", key)
        return ("EVAL", _NOTE, len(names), *names, size, seconds * 1000, self._most)

    def told(self, reply: int) -> None:
        if reply:
            self._forgotten(self._kind, reply)


def _cost(size: int) -> int:
    # Redis's allocator has four sizes from one power of two to the next, so that a value may take a quarter more.
    return size + size // 4 + _ENTRY_BYTES
