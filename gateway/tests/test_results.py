"""One flight for equal runs: whoever comes too late to join it finds what it made."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.plan import Plan
from gateway.runs.results import Results
from gateway.runs.shared import connect
from gateway.runs.shelves import Shelf
from gateway.tests.conftest import plan_of, redis_server, service


def test_a_run_that_looked_before_the_flight_landed_does_not_fly_again(tmp_path: Path) -> None:
    async def check(url: str) -> None:
        shared = connect(Plan.model_validate(plan_of({"redis": service("redis", url)})))
        results = Results(shared, Shelf(shared, "results", 2**20, lambda kind, count: None), ttl_seconds=60)
        assert await results.get("k") is None
        async with results.flight("k", "first") as made_elsewhere:
            assert made_elsewhere is None
            await results.put("k", "made by the first")
        async with results.flight("k", "late") as made_elsewhere:
            assert made_elsewhere == "made by the first"
        replies = await shared.need(("EXISTS", shared.key("flight", "k")))
        assert replies == [0], "a claim is left behind"
        await shared.close()

    with redis_server(tmp_path) as (port, _):
        asyncio.run(check(f"redis://127.0.0.1:{port}"))
