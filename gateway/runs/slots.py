"""How many agents run at once, over all replicas: a pure rule, and its twin in Redis.

Every replica tells the ledger, in one step, which runs wait and which hold a slot, and learns which may start. What a
replica holds is a lease: when it dies, its slots are free again after `LEASE_SECONDS`. All times are Redis's own, so
that no replica's clock matters.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from redis.asyncio import Redis

LEASE_SECONDS = 12.0
# A waiting run keeps its place only while its replica asks for it.
WAIT_LEASE_SECONDS = 3.0


@dataclass(frozen=True)
class SlotLimits:
    """`models` maps a model to its own limit; a model not in it is held by `total` only."""

    total: int
    models: Mapping[str, int]
    queue: int


@dataclass(frozen=True)
class Standing:
    """What the ledger answered: which of the caller's runs may start or must go, and the load over all replicas."""

    granted: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    running: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0


Runs = Mapping[str, str]
"""A run's id → its model, in the order of arrival."""


class Ledger(Protocol):
    async def settle(self, waiting: Runs, holding: Runs, released: Sequence[str]) -> Standing: ...


def who_may_start(limits: SlotLimits, running: Iterable[str], waiting: Iterable[tuple[str, str]]) -> list[str]:
    """The ids among `waiting` (id, model; first come first) that fit beside the models that are `running`.

    A run whose model is at its limit lets later runs of other models pass; it never loses its place.
    """
    used = Counter(running)
    free = limits.total - used.total()
    start = []
    for run, model in waiting:
        if free <= 0:
            break
        if used[model] < limits.models.get(model, limits.total):
            used[model] += 1
            free -= 1
            start.append(run)
    return start


class LocalLedger:
    """The limits of this replica alone: what is left when Redis is gone. Remembers nothing; the desk tells it all."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits

    async def settle(self, waiting: Runs, holding: Runs, released: Sequence[str]) -> Standing:
        granted = who_may_start(self._limits, holding.values(), waiting.items())
        left = [run for run in waiting if run not in set(granted)]
        running = Counter(holding.values()) + Counter(waiting[run] for run in granted)
        kept = min(len(left), self._limits.queue)
        return Standing(frozenset(granted), frozenset(left[kept:]), dict(running), kept)


# KEYS: holders (zset id → expiry), waiters (zset id → place), alive (zset id → expiry), models (hash id → model), next
# ARGV: limits, waiting, holding, released as JSON; lease and waiting lease in milliseconds
_SETTLE = """
local holders, waiters, alive, models, place = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local limits, waiting, holding, released =
    cjson.decode(ARGV[1]), cjson.decode(ARGV[2]), cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function forget(id)
    redis.call('ZREM', holders, id)
    redis.call('ZREM', waiters, id)
    redis.call('ZREM', alive, id)
    redis.call('HDEL', models, id)
end

for _, id in ipairs(released) do forget(id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', now)) do forget(id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', now)) do forget(id) end
for _, run in ipairs(holding) do
    redis.call('ZADD', holders, now + ARGV[5], run[1])
    redis.call('HSET', models, run[1], run[2])
end
local mine, new, granted = {}, {}, {}
for _, run in ipairs(waiting) do
    if redis.call('ZSCORE', holders, run[1]) then
        -- Granted before, in an answer that never came.
        redis.call('ZADD', holders, now + ARGV[5], run[1])
        granted[#granted + 1] = run[1]
    else
        mine[run[1]] = true
        if not redis.call('ZSCORE', waiters, run[1]) then
            redis.call('ZADD', waiters, redis.call('INCR', place), run[1])
            redis.call('HSET', models, run[1], run[2])
            new[run[1]] = true
        end
        redis.call('ZADD', alive, now + ARGV[6], run[1])
    end
end

local used, count = {}, 0
for _, id in ipairs(redis.call('ZRANGE', holders, 0, -1)) do
    local model = redis.call('HGET', models, id) or ''
    used[model] = (used[model] or 0) + 1
    count = count + 1
end
local free = limits.total - count
for _, id in ipairs(redis.call('ZRANGE', waiters, 0, -1)) do
    if free <= 0 then break end
    local model = redis.call('HGET', models, id) or ''
    if (used[model] or 0) < (limits.models[model] or limits.total) then
        -- A run of another replica is left its slot: that replica asks within moments, or its place lapses.
        used[model] = (used[model] or 0) + 1
        free = free - 1
        if mine[id] then
            redis.call('ZREM', waiters, id)
            redis.call('ZREM', alive, id)
            redis.call('ZADD', holders, now + ARGV[5], id)
            granted[#granted + 1] = id
        end
    end
end
local refused = {}
for rank, id in ipairs(redis.call('ZRANGE', waiters, 0, -1)) do
    if rank > limits.queue and new[id] then refused[#refused + 1] = id end
end
for _, id in ipairs(refused) do forget(id) end

local running = {}
for _, id in ipairs(redis.call('ZRANGE', holders, 0, -1)) do
    running[#running + 1] = redis.call('HGET', models, id) or ''
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 3600000) end
return {granted, refused, running, redis.call('ZCARD', waiters)}
"""


class RedisLedger:
    """The limits over all replicas. `prefix` sets one stack apart from another in a shared Redis."""

    def __init__(self, redis: Redis, prefix: str, limits: SlotLimits, lease_seconds: float = LEASE_SECONDS) -> None:
        self._script = redis.register_script(_SETTLE)
        self._keys = [f"{prefix}:slots:{name}" for name in ("holders", "waiters", "alive", "models", "next")]
        self._limits = json.dumps({"total": limits.total, "models": dict(limits.models), "queue": limits.queue})
        self._lease_ms = int(lease_seconds * 1000)

    async def settle(self, waiting: Runs, holding: Runs, released: Sequence[str]) -> Standing:
        """Raises `RedisError` or `OSError` when Redis can't be asked; then nothing was granted."""
        granted, refused, running, count = await self._script(
            keys=self._keys,
            args=[
                self._limits,
                json.dumps(list(waiting.items())),
                json.dumps(list(holding.items())),
                json.dumps(list(released)),
                self._lease_ms,
                int(WAIT_LEASE_SECONDS * 1000),
            ],
        )
        return Standing(
            frozenset(_text(run) for run in granted),
            frozenset(_text(run) for run in refused),
            dict(Counter(_text(model) for model in running)),
            int(count),
        )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
