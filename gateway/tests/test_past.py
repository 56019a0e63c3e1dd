"""What the gateway remembers: runs by likeness in Qdrant, conversations in Redis, by its protocol and by REST."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis import Redis

from gateway.tests.conftest import (
    Gateway,
    Plan,
    Process,
    agents_in,
    counting_mcp,
    counts,
    gateway,
    plan_of,
    qdrant,
    redis_server,
    run,
    service,
    wait_until,
)
from gateway.tests.upstash_rest import upstash_rest


@dataclass
class Memory:
    gateway: Gateway
    plan: Plan
    mcp_url: str
    redis: Redis
    qdrant_url: str
    qdrant: Process


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    folder = tmp_path_factory.mktemp("memory")
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(folder))
        url, _ = stack.enter_context(counting_mcp(folder))
        qdrant_url, vectors = stack.enter_context(qdrant(folder))
        services = {
            "redis": service("redis", f"redis://127.0.0.1:{port}"),
            "qdrant": service("qdrant", qdrant_url, stand_in="over qdrant-edge-py"),
            "zen-mcp": service("mcp", url),
        }
        plan = plan_of(services, agents_in(folder))
        bounds = {"PROMPTCRAFT_SESSION_TURNS": "3", "PROMPTCRAFT_SESSION_BYTES": "4096"}
        running = stack.enter_context(gateway(folder, plan, **bounds))
        client = stack.enter_context(Redis(port=port, decode_responses=True, protocol=2))
        yield Memory(running, plan, url, client, qdrant_url, vectors)


def similar(on: Gateway, **query: Any) -> httpx2.Response:
    return on.api.get("/api/runs/similar", params=query)


def remembered(on: Gateway, count: int) -> None:
    metric = 'promptcraft_similar_runs_total{outcome="stored"}'

    def stored() -> float:
        lines = on.api.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric)), 0.0)

    wait_until(lambda: stored() >= count, f"{count} runs are remembered")


def test_past_runs_are_found_by_likeness_and_answers_from_the_cache_are_not_kept_twice(memory: Memory) -> None:
    on = memory.gateway
    assert similar(on, text="nothing was run yet").json() == {"embedder": "hashing-512", "runs": []}
    texts = ["How do Redis leases expire?", "Bake bread with sourdough", "Paint the garden fence green"]
    records = [run(on, "sonnet", text).json() for text in texts]
    assert run(on, "sonnet", texts[0]).json()["cached"] is True
    remembered(on, 3)
    found = similar(on, text="expiring leases in Redis", limit=2).json()["runs"]
    assert len(found) == 2
    assert found[0]["id"] == records[0]["id"]
    assert found[0]["score"] > found[1]["score"] > -1
    assert found[0]["agent"] == found[0]["model"] == "sonnet"
    assert found[0]["excerpt"] == records[0]["output"]
    others = similar(on, run=records[0]["id"]).json()["runs"]
    assert {one["id"] for one in others} == {records[1]["id"], records[2]["id"]}
    collection = httpx2.get(f"{memory.qdrant_url}/collections/promptcraft-promptcraft-hybrid-dev-runs-hashing-512")
    assert collection.json()["result"]["config"]["params"]["vectors"]["size"] == 512
    assert collection.json()["result"]["points_count"] == 3


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"text": "a", "run": "0" * 32}, 422, "invalid_request"),
        ({"text": "x" * 2001}, 422, "invalid_request"),
        ({"text": "a", "limit": 0}, 422, "invalid_request"),
        ({"run": "../../collections"}, 422, "invalid_request"),
        ({"run": "0" * 32}, 404, "unknown_run"),
    ],
)
def test_questions_about_past_runs_that_make_no_sense(
    memory: Memory, query: dict[str, Any], status: int, code: str
) -> None:
    answer = similar(memory.gateway, **query)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def talk(on: Gateway, session: str, text: str) -> dict[str, Any]:
    record: dict[str, Any] = run(on, "opus", text, {"session": session}).json()
    assert record["status"] == "succeeded", record
    assert record["note"] is None
    return record


def turns(on: Gateway, session: str) -> list[dict[str, Any]]:
    answer = on.api.get(f"/api/sessions/{session}")
    return answer.json()["turns"] if answer.status_code == 200 else []


def test_a_session_goes_on_where_it_was_in_any_replica_and_ends_when_it_is_deleted(
    memory: Memory, tmp_path: Path
) -> None:
    first = talk(memory.gateway, "s1", "My name is Ada")
    with gateway(tmp_path, memory.plan, name="second") as second:
        again = talk(second, "s1", "What is my name?")
    assert "User: My name is Ada" in again["output"]
    assert f"You: {first['output']}" in again["output"]
    kept = turns(memory.gateway, "s1")
    assert [(turn["input"], turn["run"]) for turn in kept] == [
        ("My name is Ada", first["id"]),
        ("What is my name?", again["id"]),
    ]
    # Another conversation knows nothing of it.
    assert "Ada" not in talk(memory.gateway, "s2", "What is my name?")["output"]
    assert memory.gateway.api.delete("/api/sessions/s1").status_code == 204
    assert memory.gateway.api.get("/api/sessions/s1").json()["error"]["code"] == "unknown_session"
    assert "Ada" not in talk(memory.gateway, "s1", "What is my name?")["output"]


def test_a_run_in_a_session_is_cached_by_the_whole_conversation(memory: Memory) -> None:
    before = counts(memory.mcp_url)["calls"].get("all", 0)
    assert talk(memory.gateway, "c1", "Count with me")["cached"] is False
    assert talk(memory.gateway, "c2", "Count with me")["cached"] is True
    # Asked again in the same session, it is another conversation.
    assert talk(memory.gateway, "c1", "Count with me")["cached"] is False
    # A cached answer is a turn as any other, so that c2 is where c1 was.
    assert talk(memory.gateway, "c2", "Count with me")["cached"] is True
    assert counts(memory.mcp_url)["calls"].get("all", 0) == before + 2


def test_equal_runs_at_once_in_two_sessions_are_one_call_and_a_turn_in_each(memory: Memory) -> None:
    before = counts(memory.mcp_url)["calls"].get("all", 0)
    names = [f"flight-{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: talk(memory.gateway, name, "All together"), names))
    assert counts(memory.mcp_url)["calls"].get("all", 0) == before + 1
    assert all(len(turns(memory.gateway, name)) == 1 for name in names)


def test_a_session_is_bounded_in_turns_and_in_bytes(memory: Memory) -> None:
    for text in ("First", "Second", "Third", "Last"):
        talk(memory.gateway, "many", text)
    assert [turn["input"] for turn in turns(memory.gateway, "many")] == ["Second", "Third", "Last"]
    talk(memory.gateway, "long", "x" * 50_000)
    talk(memory.gateway, "long", "y" * 50_000)
    key = next(key for key in memory.redis.keys("*:session:*:long"))
    texts = memory.redis.lrange(key, 0, -1)
    assert len(texts) == 1
    assert len(texts[0]) < 2 * 4096
    assert turns(memory.gateway, "long")[0]["input"].startswith("yyy")
    assert 0 < memory.redis.ttl(key) <= 86_400


def test_an_idempotency_key_in_a_session_stands_for_one_turn(memory: Memory) -> None:
    headers = {"Idempotency-Key": "turn-1"}
    first = run(memory.gateway, "opus", "Once", {"session": "once"}, **headers).json()
    again = run(memory.gateway, "opus", "Once", {"session": "once"}, **headers).json()
    assert first["id"] == again["id"]
    assert len(turns(memory.gateway, "once")) == 1
    assert run(memory.gateway, "opus", "Once", {"session": "else"}, **headers).status_code == 409


@pytest.mark.parametrize("session", ["", "a b", "x" * 65, "../etc", "é"])
def test_a_session_has_a_plain_name(memory: Memory, session: str) -> None:
    assert run(memory.gateway, "opus", "x", {"session": session}).status_code == 422


def test_over_rest_the_cache_records_keys_and_sessions_are_shared(memory: Memory, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("tok-51fe\n")
    port = int(memory.plan["services"]["redis"]["endpoint"].rpartition(":")[2])
    with ExitStack() as stack:
        rest = stack.enter_context(upstash_rest(port, "tok-51fe"))
        services = {"redis": service("redis", rest, credential=str(token)), "zen-mcp": service("mcp", memory.mcp_url)}
        plan = {**plan_of(services, agents_in(tmp_path)), "stack": "cloud"}
        one, two = (stack.enter_context(gateway(tmp_path, plan, name=name)) for name in ("one", "two"))
        health = one.api.get("/api/health/detailed").json()
        assert health["services"]["redis"]["status"] == "ok"
        assert health["cache"]["problem"] is None
        assert health["limits"]["scope"] == "this replica"
        first = run(one, "haiku", "Over the wire", **{"Idempotency-Key": "k"}).json()
        assert first["cached"] is False
        assert run(two, "haiku", "Over the wire").json()["cached"] is True
        assert run(two, "haiku", "Over the wire", **{"Idempotency-Key": "k"}).json()["id"] == first["id"]
        assert two.api.get(f"/api/runs/{first['id']}").json()["output"] == first["output"]
        assert first["id"] in {record["id"] for record in two.api.get("/api/runs").json()["runs"]}
        talk(one, "rest", "My name is Ada")
        assert "Ada" in talk(two, "rest", "Again?")["output"]
        assert "tok-51fe" not in one.log.read_text() + json.dumps(health)


def test_a_refused_rest_token_costs_the_cache_and_no_run(memory: Memory, tmp_path: Path) -> None:
    with ExitStack() as stack:
        rest = stack.enter_context(upstash_rest(1, "tok-51fe"))
        services = {"redis": service("redis", rest), "zen-mcp": service("mcp", memory.mcp_url)}
        running = stack.enter_context(gateway(tmp_path, plan_of(services, agents_in(tmp_path))))
        assert run(running, "haiku", "Without a token").json()["status"] == "succeeded"
        assert run(running, "haiku", "Without a token", {"session": "s"}).status_code == 503
        health = running.api.get("/api/health/detailed").json()
        assert health["services"]["redis"]["problem"] == health["cache"]["problem"] == "Unauthorized"
