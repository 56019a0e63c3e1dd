"""Room in Redis: how much is kept of each kind and for each caller, so that nobody pushes out what is another's.

Redis itself evicts nothing (`noeviction`): by its own policies it would take what was used least, whosever it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.runs.shared import Shared
from gateway.runs.stores import Command

# What an entry costs beside its value: its key, its place in both indexes, and Redis's own bookkeeping (measured: 560).
_ENTRY_BYTES = 640

# KEYS: expiries (zset key → epoch ms), sizes (hash key → bytes; `` → all of them), the entry's key
# ARGV: the entry's size, how long it lasts in ms, the bytes of all together
_NOTE = """
local expiries, sizes, key = KEYS[1], KEYS[2], KEYS[3]
local size, lasting, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', sizes, '', key)
local used, forgotten = tonumber(found[1] or '0') - tonumber(found[2] or '0'), 0

local oldest = redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')
while oldest[1] and (tonumber(oldest[2]) <= now or used + size > most) do
    redis.call('ZREM', expiries, oldest[1])
    if oldest[1] ~= key then
        used = used - tonumber(redis.call('HGET', sizes, oldest[1]) or '0')
        redis.call('HDEL', sizes, oldest[1])
        redis.call('UNLINK', oldest[1])
        if tonumber(oldest[2]) > now then forgotten = forgotten + 1 end
    end
    oldest = redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')
end
redis.call('ZADD', expiries, now + lasting, key)
redis.call('HSET', sizes, key, size, '', used + size)
if redis.call('PTTL', sizes) < lasting then
    redis.call('PEXPIRE', expiries, lasting + 60000)
    redis.call('PEXPIRE', sizes, lasting + 60000)
end
return forgotten
"""


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
        index = self._shared.key("shelf", self._kind, caller)
        names = (f"{index}:expiries", f"{index}:sizes", key)
        return ("EVAL", _NOTE, len(names), *names, size, seconds * 1000, self._most)

    def told(self, reply: int) -> None:
        if reply:
            self._forgotten(self._kind, reply)


def _cost(size: int) -> int:
    # Redis's allocator has four sizes from one power of two to the next, so that a value may take a quarter more.
    return size + size // 4 + _ENTRY_BYTES
