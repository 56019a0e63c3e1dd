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
from pathlib import Path
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


_SETTLE = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")


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
