"""Room in Redis, as the stack configures it: nobody pushes out what is another's, and Redis itself evicts nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis import Redis

from catalog import SERVICES
from gateway.checks.redis import memory_problem
from gateway.plan import Plan as GatewayPlan
from gateway.runs.shared import connect
from gateway.runs.shelves import Shelf
from gateway.tests.conftest import (
    Gateway,
    Plan,
    agents_in,
    counting_mcp,
    counts,
    gateway,
    plain_client,
    plan_of,
    redis_server,
    service,
    wait_until,
)
from rendering.redis_conf import redis_conf

TOKENS = ("alice-0123456789abcdef", "bob-0123456789abcdef")
MEMORY = [
    part
    for line in redis_conf(SERVICES["redis"].memory_mb, "/data", protected=False).splitlines()
    if line.startswith("maxmemory")
    for part in f"--{line}".split()
]


@dataclass
class Stage:
    gateway: Gateway
    redis: Redis
    mcp_url: str
    plan: Plan

    def ask(self, token: str, method: str, path: str, json: Any = None, **headers: str) -> httpx2.Response:
        given = {"Authorization": f"Bearer {token}", **headers}
        with plain_client(self.gateway.api.base_url) as client:
            return client.request(method, path, json=json, headers=given)

    def run(self, token: str, text: str, session: str | None = None, **headers: str) -> dict[str, Any]:
        body = {"input": text, "session": session} if session else {"input": text}
        record: dict[str, Any] = self.ask(token, "POST", "/api/agents/opus/runs", body, **headers).json()
        assert record["status"] == "succeeded", record
        assert record["note"] is None
        return record

    def forgotten(self) -> dict[str, float]:
        lines = self.gateway.api.get("/metrics").text.splitlines()
        found = [line.split('"') for line in lines if line.startswith("promptcraft_forgotten_total{")]
        return {kind: float(count.removeprefix("} ")) for _, kind, count in found}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(tmp_path, *MEMORY))
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        tokens = tmp_path / "tokens"
        tokens.write_text("".join(f"{hashlib.sha256(token.encode()).hexdigest()}\n" for token in TOKENS))
        plan = plan_of(services, agents_in(tmp_path), models={"opus": 10})
        running = stack.enter_context(gateway(tmp_path, plan, PROMPTCRAFT_TOKENS_FILE=str(tokens)))
        client = stack.enter_context(Redis(port=port, decode_responses=True))
        yield Stage(running, client, url, plan)


def test_one_callers_flood_costs_nobody_else_anything(stage: Stage) -> None:
    """Sessions, records and keys of alice, each far beyond what one may keep; of bob there is one of each."""
    alice, bob = TOKENS
    kept = stage.run(bob, "Remember me", "mine", **{"Idempotency-Key": "mine"})

    def flood(number: int) -> None:
        stage.run(alice, f"{number} " + "x" * 60_000, f"s{number}", **{"Idempotency-Key": f"k{number}"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(flood, range(400)))
    before = counts(stage.mcp_url)["calls"]["all"]
    assert [turn["run"] for turn in stage.ask(bob, "GET", "/api/sessions/mine").json()["turns"]] == [kept["id"]]
    assert stage.run(bob, "Remember me", "mine", **{"Idempotency-Key": "mine"})["id"] == kept["id"]
    assert stage.redis.exists(*stage.redis.scan_iter(f"*:run:{kept['id']}")) == 1
    assert counts(stage.mcp_url)["calls"]["all"] == before
    # Of alice, what came last is there.
    assert stage.ask(alice, "GET", "/api/sessions/s399").status_code == 200
    assert stage.ask(alice, "GET", "/api/sessions/s0").status_code == 404
    info: Any = stage.redis.info()
    assert info["evicted_keys"] == 0
    assert info["used_memory"] < info["maxmemory"] * 0.9
    assert stage.gateway.api.get("/api/health/detailed").json()["status"] == "ok"
    assert stage.forgotten().keys() == {"results", "records", "sessions", "keys"}


def test_sessions_and_keys_of_one_name_are_each_callers_own(stage: Stage) -> None:
    alice, bob = TOKENS
    records = [stage.run(token, "Who am I?", "same", **{"Idempotency-Key": "same"}) for token in TOKENS]
    assert records[0]["id"] != records[1]["id"]
    for token, record in zip(TOKENS, records, strict=True):
        found = stage.ask(token, "GET", "/api/sessions/same").json()["turns"]
        assert [turn["run"] for turn in found] == [record["id"]]
    assert stage.ask(alice, "DELETE", "/api/sessions/same").status_code == 204
    assert stage.ask(alice, "GET", "/api/sessions/same").status_code == 404
    assert stage.ask(bob, "GET", "/api/sessions/same").status_code == 200


def test_what_an_earlier_version_left_makes_room(stage: Stage, tmp_path: Path) -> None:
    """It had filled Redis to its limit, and evicted; now nothing is evicted, and nothing could be written for a day."""
    for number in range(400):
        stage.redis.set(f"{{promptcraft:promptcraft-hybrid:older}}:run:{number}", "x" * 130_000, ex=86_400)
    stage.redis.set("{promptcraft:promptcraft-hybrid:another}:run:1", "not ours", ex=86_400)
    stage.redis.set("somebody:else", "x")
    plan = {**stage.plan, "stack": "older"}
    with gateway(tmp_path, plan, name="newer") as newer:
        wait_until(lambda: next(stage.redis.scan_iter("*:older}:run:*"), None) is None, "it is gone")
        body = {"input": "Is there room?", "session": "s"}
        wait_until(lambda: newer.api.post("/api/agents/opus/runs", json=body).status_code == 200, "there is room")
    assert stage.redis.get("{promptcraft:promptcraft-hybrid:another}:run:1") == "not ours"
    assert stage.redis.get("somebody:else") == "x"


@pytest.mark.parametrize("size", [0, 100, 10_000, 300_000])
def test_an_entry_takes_no_more_of_redis_than_is_counted(tmp_path: Path, size: int) -> None:
    most = 4 * 2**20
    forgotten: list[int] = []

    async def fill(url: str) -> None:
        shared = connect(GatewayPlan.model_validate(plan_of({"redis": service("redis", url)})))
        shelf = Shelf(shared, "records", most, lambda kind, count: forgotten.append(count))
        for start in range(0, 8000 if size < 10_000 else 600, 100):
            keys = [shared.key("run", f"{number:032x}") for number in range(start, start + 100)]
            for key in keys:
                commands = (shelf.note("a" * 16, key, size, 86_400), ("SET", key, "x" * size, "EX", 86_400))
                shelf.told((await shared.need(*commands))[0])
        await shared.close()

    with redis_server(tmp_path) as (port, _), Redis(port=port) as client:
        before: Any = client.info()
        asyncio.run(fill(f"redis://127.0.0.1:{port}"))
        after: Any = client.info()
    assert sum(forgotten) > 0
    assert after["used_memory"] - before["used_memory"] < most


EVICTED = "has evicted 3 keys by its policy allkeys-lru: sessions, Idempotency-Keys and records may be among them"


@pytest.mark.parametrize(
    ("info", "problem", "is_well"),
    [
        ({"maxmemory": 100, "used_memory": 50, "maxmemory_policy": "noeviction"}, None, True),
        ({"maxmemory": 0, "used_memory": 50, "maxmemory_policy": "allkeys-lru"}, None, True),
        ({"maxmemory": 100, "used_memory": 90, "maxmemory_policy": "noeviction"}, "is nearly full: 90 of 100", False),
        ({"maxmemory": 100, "used_memory": 100, "maxmemory_policy": "noeviction"}, "is full: 100 of 100", False),
        ({"maxmemory": 100, "used_memory": 50, "maxmemory_policy": "volatile-lru"}, "its policy volatile-lru", True),
        ({"maxmemory": 100, "used_memory": 95, "maxmemory_policy": "allkeys-lfu"}, "by its policy allkeys-lfu", False),
        ({"maxmemory": 100, "used_memory": 50, "maxmemory_policy": "allkeys-lru", "evicted_keys": 3}, EVICTED, False),
        # Evicted by the policy of before.
        ({"maxmemory": 100, "used_memory": 50, "maxmemory_policy": "noeviction", "evicted_keys": 3}, None, True),
    ],
)
def test_health_says_what_somebody_elses_redis_does_when_it_is_full(
    info: Mapping[str, Any], problem: str | None, is_well: bool
) -> None:
    said, well = memory_problem(info)
    assert (well, said is None) == (is_well, problem is None)
    assert problem is None or problem in str(said)


def test_a_redis_that_evicts_is_degraded_and_says_so(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"))
        client = stack.enter_context(Redis(port=port))
        plan = plan_of({"redis": service("redis", f"redis://127.0.0.1:{port}")})
        running = stack.enter_context(gateway(tmp_path, plan))
        found = running.api.get("/api/health/detailed").json()["services"]["redis"]
        assert (found["status"], "policy allkeys-lru" in found["problem"]) == ("ok", True)
        for number in range(40):
            client.set(f"theirs:{number}", "x" * 100_000)

        def redis() -> dict[str, Any]:
            told: dict[str, Any] = running.api.get("/api/health/detailed").json()["services"]["redis"]
            return told

        wait_until(lambda: redis()["status"] == "degraded", "it is degraded")
        assert "has evicted" in redis()["problem"]
