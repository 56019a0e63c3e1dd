"""Records that Redis was not told of at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.runs.record import RunRecord, now
from gateway.runs.records import Records
from gateway.runs.shared import Shared
from gateway.runs.shelves import Shelf
from gateway.runs.stores import Command, StoreError


class _Pausing:
    """A store that fails as long as it is told to, and keeps what it is given."""

    def __init__(self) -> None:
        self.fails = False
        self.kept: dict[str, str] = {}

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        if self.fails:
            raise StoreError("away")
        self.kept.update({str(key): str(value) for name, key, value, *_ in commands if name == "SET"})
        return [0 for _ in commands]

    async def close(self) -> None:
        pass


def records_of(store: _Pausing, replica: str) -> Records:
    shared = Shared(store, "p")
    return Records(shared, Shelf(shared, "records", 2**20, lambda kind, count: None), replica)


def test_the_end_of_a_run_that_redis_was_not_told_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runs.shared.RETRY_SECONDS", 0.0)

    async def check() -> None:
        store = _Pausing()
        records = records_of(store, "replica")
        record = RunRecord(
            id="0" * 32,
            agent="a",
            status="running",
            model="opus",
            server="zen-mcp",
            tool="chat",
            replica="replica",
            created=now(),
        )
        await records.save(record, "anybody")
        store.fails = True
        await records.save(record.model_copy(update={"status": "succeeded", "ended": now()}), "anybody")
        assert '"running"' in store.kept[f"p:run:{record.id}"]
        store.fails = False
        await records.beat()
        assert '"succeeded"' in store.kept[f"p:run:{record.id}"]

    asyncio.run(check())
