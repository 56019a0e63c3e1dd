"""Running agents: gateways as processes beside one Redis and an MCP server that counts."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.tests.conftest import (
    Gateway,
    Plan,
    agents_in,
    counting_mcp,
    counts,
    events_of,
    free_port,
    gateway,
    http_answering,
    in_background,
    plain_client,
    plan_of,
    redis_server,
    run,
    service,
    wait_until,
)


@dataclass
class Stage:
    gateway: Gateway
    mcp_url: str
    plan: Plan
    folder: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(folder))
        url, _ = stack.enter_context(counting_mcp(folder, delay=0.2))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        plan = plan_of(services, agents_in(folder))
        running = stack.enter_context(gateway(folder, plan, LOG_LEVEL="DEBUG"))
        yield Stage(running, url, plan, folder)


def calls(stage: Any) -> int:
    """How often the MCP server was called so far; it counts from its first call on."""
    return int(counts(stage.mcp_url)["calls"].get("all", 0))


def test_a_run_answers_with_what_the_tool_said_and_leaves_a_record(stage: Stage) -> None:
    answer = run(stage.gateway, "sonnet", "What is a lease?")
    assert answer.status_code == 200
    record = answer.json()
    assert record["status"] == "succeeded"
    assert record["output"] == "answer to: You are sonnet.\n\nWhat is a lease?"
    assert record["cached"] is False
    assert record["duration_ms"] >= 200
    assert record["attempts"] == 1
    assert record["created"] <= record["started"] <= record["ended"]
    assert stage.gateway.api.get(f"/api/runs/{record['id']}").json() == record
    recent = stage.gateway.page.get("/api/runs").json()["runs"]
    assert record["id"] in {one["id"] for one in recent}


def test_a_repeated_run_comes_from_the_cache_twenty_times_faster(stage: Stage) -> None:
    first = run(stage.gateway, "haiku", "Say it again").json()
    before = calls(stage)
    again = [run(stage.gateway, "haiku", "Say it again").json() for _ in range(10)]
    assert calls(stage) == before
    assert all(one["cached"] and one["output"] == first["output"] and one["id"] != first["id"] for one in again)
    assert min(one["duration_ms"] for one in again) * 20 <= first["duration_ms"]


def test_a_hundred_equal_requests_at_once_make_one_run(stage: Stage) -> None:
    before = calls(stage)
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: run(stage.gateway, "opus", "All together").json(), range(100)))
    assert calls(stage) == before + 1
    assert {one["status"] for one in answers} == {"succeeded"}
    assert len({one["output"] for one in answers}) == 1


def test_equal_requests_to_two_replicas_make_one_run(stage: Stage, tmp_path: Path) -> None:
    before = calls(stage)
    with gateway(tmp_path, stage.plan, name="second") as second, ThreadPoolExecutor(20) as pool:
        replicas = [stage.gateway, second] * 10
        answers = list(pool.map(lambda on: run(on, "sonnet", "Wherever you are").json(), replicas))
    assert calls(stage) == before + 1
    assert len({one["output"] for one in answers}) == 1


def test_a_cached_result_is_forgotten_after_its_time(stage: Stage, tmp_path: Path) -> None:
    plan = {**stage.plan, "stack": "forgetful"}
    with gateway(tmp_path, plan, PROMPTCRAFT_CACHE_SECONDS="1") as forgetful:
        assert run(forgetful, "haiku", "For a second").json()["cached"] is False
        assert run(forgetful, "haiku", "For a second").json()["cached"] is True
        wait_until(lambda: run(forgetful, "haiku", "For a second").json()["cached"] is False, "it is forgotten")


def test_a_changed_definition_is_used_at_once_and_shares_no_cache(stage: Stage) -> None:
    file = Path(stage.plan["agents"]["haiku"]["file"])
    before = file.read_text()
    assert run(stage.gateway, "haiku", "Who are you?").json()["output"].startswith("answer to: You are haiku.")
    try:
        file.write_text(before.replace("You are haiku.", "You are another."))
        assert run(stage.gateway, "haiku", "Who are you?").json()["output"].startswith("answer to: You are another.")
        file.write_text("{")
        assert run(stage.gateway, "haiku", "Who are you?").status_code == 409
    finally:
        file.write_text(before)


def test_a_stream_tells_how_the_run_goes(stage: Stage) -> None:
    events = events_of(run(stage.gateway, "opus", "Tell me how it goes", Accept="text/event-stream"))
    names = [name for name, _ in events]
    assert names[:2] == ["queued", "started"]
    assert names[-2:] == ["output", "done"]
    assert "progress" in names
    done = events[-1][1]
    assert done["status"] == "succeeded"
    assert done["output"] == dict(events)["output"]["text"]
    assert done["id"] == events[0][1]["id"]


def test_an_idempotency_key_stands_for_one_run(stage: Stage) -> None:
    first = run(stage.gateway, "sonnet", "Once only", **{"Idempotency-Key": "k1"}).json()
    again = run(stage.gateway, "sonnet", "Once only", **{"Idempotency-Key": "k1"}).json()
    assert again["id"] == first["id"]
    other = run(stage.gateway, "sonnet", "Something else", **{"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "idempotency_key_reused"


def test_a_run_can_be_cancelled_from_this_replica_and_from_another(stage: Stage, tmp_path: Path) -> None:
    with gateway(tmp_path, stage.plan, name="second") as second:
        for on in (stage.gateway, second):
            with in_background(stage.gateway, "opus", f"SLOW {id(on)}") as record:
                on.api.post(f"/api/runs/{record['id']}/cancel")
            assert record["answers"][0].json()["status"] == "cancelled"
            assert on.api.get(f"/api/runs/{record['id']}").json()["status"] == "cancelled"
    wait_until(lambda: counts(stage.mcp_url)["running"].get("opus", 0) == 0, "the tool was told")


def test_a_cancelled_run_is_cancelled_however_busy_the_replica_is(stage: Stage) -> None:
    def start_and_cancel(number: int) -> list[str]:
        model = ("sonnet", "haiku")[number % 2]
        body, headers = {"input": f"SLOW cancel {number}"}, {"Accept": "text/event-stream"}
        with (
            plain_client(stage.gateway.api.base_url) as client,
            client.stream("POST", f"/api/agents/{model}/runs", json=body, headers=headers) as events,
        ):
            lines = iter(events.iter_lines())
            assert next(lines) == "event: queued"
            run_id = json.loads(next(lines).removeprefix("data: "))["id"]
            # Some are cancelled as soon as they are queued, some when they start, some in the middle of their call;
            # all of them twice, as the impatient do.
            awaited = ("queued", "started", "progress")[number % 3]
            assert awaited == "queued" or f"event: {awaited}" in lines
            cancel = f"/api/runs/{run_id}/cancel"
            again = impatient.submit(httpx2.post, f"{stage.gateway.api.base_url}{cancel}", timeout=60, trust_env=False)
            answered = client.post(cancel).json()["status"]
            assert again.result().json()["status"] == answered
            assert "event: done" in lines
            done = json.loads(next(lines).removeprefix("data: "))["status"]
            return [answered, done, client.get(f"/api/runs/{run_id}").json()["status"]]

    with ThreadPoolExecutor(12) as pool, ThreadPoolExecutor(12) as impatient:
        found = list(pool.map(start_and_cancel, range(30)))
    assert found == [["cancelled"] * 3] * 30


@pytest.mark.parametrize(
    ("text", "error"),
    [("FAIL please", "asked to fail"), ("", None)],
)
def test_a_failing_tool_is_a_failed_run_and_is_not_cached(stage: Stage, text: str, error: str | None) -> None:
    if error is None:
        assert run(stage.gateway, "sonnet", text).status_code == 422
        return
    for _ in range(2):
        record = run(stage.gateway, "sonnet", text).json()
        assert record["status"] == "failed"
        assert error in record["error"]
        assert record["cached"] is False


def test_an_answer_in_zens_wrapping_is_unwrapped(stage: Stage) -> None:
    assert run(stage.gateway, "sonnet", "WRAPPED").json()["output"] == "unwrapped"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/agents/nobody/runs", {"input": "x"}, 404, "unknown_agent"),
        ("/api/agents/%20/runs", {"input": "x"}, 422, "invalid_request"),
        ("/api/agents/opus/runs", {"inptu": "x"}, 422, "invalid_request"),
        ("/api/agents/opus/runs", {"input": "x" * 200_001}, 422, "invalid_request"),
        ("/api/agents/opus/runs", {"input": "half a pair: \ud800"}, 422, "invalid_request"),
        ("/api/agents/opus/runs", {"input": "x", "arguments": {"half": "\ud800"}}, 422, "invalid_request"),
        ("/api/agents/opus/runs", {"input": "x" * 2_000_000}, 413, "too_large"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_shape(
    stage: Stage, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    content = json.dumps(body).encode()
    answer = stage.gateway.api.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "xxx" not in answer.text


def test_a_body_of_undeclared_length_is_limited_too(stage: Stage) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    answer = stage.gateway.api.post("/api/agents/opus/runs", content=endless())
    assert answer.status_code == 413


def test_unknown_runs_are_404(stage: Stage) -> None:
    assert stage.gateway.api.get(f"/api/runs/{'0' * 32}").json()["error"]["code"] == "unknown_run"
    assert stage.gateway.api.get("/api/runs/..").status_code in (404, 405)


def test_metrics_have_the_names_of_the_contract_and_bounded_labels(stage: Stage) -> None:
    for _ in range(2):
        run(stage.gateway, "opus", "Measure me")
    stage.gateway.api.get("/made/up/path/8f3a")
    text = stage.gateway.api.get("/metrics").text
    for name in (
        'promptcraft_agent_run_seconds_bucket{agent="opus",le="+Inf",model="opus",outcome="succeeded"}',
        'promptcraft_agent_slots{model="opus",state="limit"} 3.0',
        'promptcraft_mcp_requests_total{outcome="ok",server="zen-mcp",tool="chat"}',
        'promptcraft_mcp_request_seconds_count{outcome="ok",server="zen-mcp",tool="chat"}',
        'promptcraft_http_requests_total{method="POST",route="/api/agents/{agent}/runs",status="200"}',
        "promptcraft_http_request_seconds_bucket",
        'promptcraft_cache_requests_total{outcome="hit"}',
        'promptcraft_service_info{decision="deploy",service="redis",source="deployed"} 1.0',
        'promptcraft_service_healthy{service="redis"} 1.0',
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ):
        assert name in text, name
    assert "8f3a" not in text
    assert "Measure me" not in text


def test_debug_logs_show_decisions_and_no_inputs(stage: Stage) -> None:
    run(stage.gateway, "sonnet", "a-secret-input")
    lines = stage.gateway.log_lines()
    assert any(line.get("decision") == "granted" for line in lines)
    ended = [line for line in lines if line["message"] == "run ended"]
    assert ended
    assert all("run_id" in line and "agent" in line for line in ended)
    assert "a-secret-input" not in stage.gateway.log.read_text()


def test_limits_hold_over_three_replicas_by_the_servers_own_count(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(tmp_path))
        url, _ = stack.enter_context(counting_mcp(tmp_path, delay=0.05))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        plan = plan_of(services, agents_in(tmp_path), models={"opus": 3, "sonnet": 8, "haiku": 15})
        more = {"PROMPTCRAFT_QUEUE_LIMIT": "300", "PROMPTCRAFT_QUEUE_SECONDS": "600"}
        replicas = [stack.enter_context(gateway(tmp_path, plan, name=f"replica-{n}", **more)) for n in range(3)]
        pool = stack.enter_context(ThreadPoolExecutor(200))
        wanted = [("opus", "sonnet", "haiku")[n % 3] for n in range(200)]
        answers = list(pool.map(lambda n: run(replicas[n % 3], wanted[n], f"number {n}"), range(200)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["status"] for answer in answers} == {"succeeded"}
        found = counts(url)
        assert found["calls"]["all"] == 200
        assert found["peaks"]["opus"] <= 3
        assert found["peaks"]["sonnet"] <= 8
        assert found["peaks"]["all"] <= 10
        # The limits are used, not only kept.
        assert found["peaks"]["all"] >= 5


def test_a_replica_killed_in_a_run_frees_its_slot_and_its_run_is_on_record(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(tmp_path))
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        plan = plan_of(services, agents_in(tmp_path), max_concurrent_agents=1)
        doomed = stack.enter_context(gateway(tmp_path, plan, name="doomed"))
        survivor = stack.enter_context(gateway(tmp_path, plan, name="survivor"))
        with in_background(doomed, "opus", "SLOW") as record:
            assert survivor.api.get(f"/api/runs/{record['id']}").json()["status"] == "running"
            doomed.process.kill()
            killed = time.monotonic()
        assert run(survivor, "haiku", "after it").json()["status"] == "succeeded"
        assert time.monotonic() - killed < 30

        def lost() -> bool:
            return bool(survivor.api.get(f"/api/runs/{record['id']}").json()["status"] == "failed")

        wait_until(lost, "the lost run is closed", seconds=30)
        assert "gone" in survivor.api.get(f"/api/runs/{record['id']}").json()["error"]


def test_beyond_the_queue_is_429_with_retry_after(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path, delay=0.5))
        plan = plan_of({"zen-mcp": service("mcp", url)}, agents_in(tmp_path), max_concurrent_agents=1)
        running = stack.enter_context(gateway(tmp_path, plan, PROMPTCRAFT_QUEUE_LIMIT="2"))
        pool = stack.enter_context(ThreadPoolExecutor(8))
        answers = list(pool.map(lambda n: run(running, "haiku", f"number {n}"), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["error"]["code"] == "queue_full"


def test_a_run_waits_for_its_slot_so_long_and_is_then_429(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        plan = plan_of({"zen-mcp": service("mcp", url)}, agents_in(tmp_path), max_concurrent_agents=1)
        running = stack.enter_context(gateway(tmp_path, plan, PROMPTCRAFT_QUEUE_SECONDS="0.3"))
        with in_background(running, "opus", "SLOW") as record:
            refused = run(running, "haiku", "My turn?")
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.json()["error"] == {"code": "queue_timeout", "message": "no slot came free within 0.3 s"}
            running.api.post(f"/api/runs/{record['id']}/cancel")
        assert run(running, "haiku", "My turn!").json()["status"] == "succeeded"


def test_without_redis_agents_still_run_and_health_says_what_is_lost(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path, delay=0.05))
        port, redis = stack.enter_context(redis_server(tmp_path))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        running = stack.enter_context(gateway(tmp_path, plan_of(services, agents_in(tmp_path))))
        assert run(running, "opus", "with it").json()["status"] == "succeeded"
        redis.kill()
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda n: run(running, "opus", f"without it {n}").json(), range(12)))
        assert {one["status"] for one in answers} == {"succeeded"}
        assert counts(url)["peaks"]["opus"] <= 3
        health = running.api.get("/api/health/detailed").json()
        assert health["status"] == "degraded"
        assert health["limits"]["scope"] == "this replica"
        assert health["cache"]["problem"]
        stack.enter_context(redis_server(tmp_path, port=port))
        wait_until(
            lambda: (
                run(running, "opus", "with it again").json()["cached"]
                and running.api.get("/api/health/detailed").json()["limits"]["scope"] == "all replicas"
            ),
            "Redis is used again",
        )


def test_a_full_redis_costs_the_cache_and_no_run(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        full = ("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
        port, _ = stack.enter_context(redis_server(tmp_path, *full))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        running = stack.enter_context(gateway(tmp_path, plan_of(services, agents_in(tmp_path))))
        assert run(running, "opus", "anyway").json()["status"] == "succeeded"
        # Refused while Redis is left alone, else run with a note that the turn is not kept.
        session = run(running, "opus", "and then?", {"session": "s"})
        assert session.status_code == 503 or session.json()["note"]
        health = running.api.get("/api/health/detailed").json()
        assert health["services"]["redis"]["status"] == "degraded"
        assert "full" in health["services"]["redis"]["problem"]


NONSENSE = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{"a": 1}\n'
)
NOT_HTTP = b"+PONG\r\n"
FORBIDDEN = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REDIRECT = (
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/mcp\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


@pytest.mark.parametrize("answer", [NONSENSE, NOT_HTTP, FORBIDDEN, REDIRECT, b""])
def test_a_server_that_is_no_mcp_server_is_a_failed_run_and_down(tmp_path: Path, answer: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tok-8f3a")
    with http_answering(answer) as url:
        plan = plan_of({"zen-mcp": service("mcp", url, credential=str(secret))}, agents_in(tmp_path))
        limits = {"PROMPTCRAFT_RUN_SECONDS": "1", "PROMPTCRAFT_CHECK_SECONDS": "1", "LOG_LEVEL": "DEBUG"}
        with gateway(tmp_path, plan, **limits) as running:
            record = run(running, "opus", "anybody?").json()
            assert record["status"] == "failed"
            assert record["error"]
            health = running.api.get("/api/health/detailed").json()
            assert health["status"] == "down"
            assert health["services"]["zen-mcp"]["problem"]
            assert "tok-8f3a" not in json.dumps(record) + json.dumps(health) + running.log.read_text()


def test_nobody_listening_is_tried_again_and_then_a_failed_run(tmp_path: Path) -> None:
    services = {"zen-mcp": service("mcp", f"http://127.0.0.1:{free_port()}")}
    with gateway(tmp_path, plan_of(services, agents_in(tmp_path))) as running:
        record = run(running, "opus", "anybody?").json()
    assert record["status"] == "failed"
    assert record["attempts"] == 3


def test_a_server_that_dies_in_a_call_is_asked_once_only(tmp_path: Path) -> None:
    with counting_mcp(tmp_path) as (url, _):
        plan = plan_of({"zen-mcp": service("mcp", url)}, agents_in(tmp_path))
        with gateway(tmp_path, plan) as running:
            record = run(running, "opus", "DIE").json()
    assert record["status"] == "failed"
    assert record["attempts"] == 1


def test_a_server_behind_a_token_is_reached_with_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tok-8f3a\n")
    with counting_mcp(tmp_path, token="tok-8f3a") as (url, _):
        for credential, status in ((str(secret), "succeeded"), (None, "failed")):
            plan = plan_of({"zen-mcp": service("mcp", url, credential=credential)}, agents_in(tmp_path))
            with gateway(tmp_path, plan, name=status) as running:
                assert run(running, "opus", "open up").json()["status"] == status
                expected = {"succeeded": "ok", "failed": "down"}[status]
                assert running.api.get("/api/health/detailed").json()["status"] == expected


def test_a_run_cut_short_by_sigterm_is_on_record(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(tmp_path))
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        plan = plan_of(services, agents_in(tmp_path))
        ending = stack.enter_context(gateway(tmp_path, plan, name="ending"))
        other = stack.enter_context(gateway(tmp_path, plan, name="other"))
        with in_background(ending, "opus", "SLOW") as record:
            started = time.monotonic()
            assert ending.process.stop() == 0
            assert time.monotonic() - started < 9
        found = other.api.get(f"/api/runs/{record['id']}").json()
        assert found["status"] == "failed"
        assert found["error"] == "the gateway stopped"


def test_tokens_are_asked_for_where_there_are_any(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{hashlib.sha256(b'open sesame').hexdigest()}  alice\n")
    plan = plan_of({}, agents_in(tmp_path))
    with gateway(tmp_path, plan, PROMPTCRAFT_TOKENS_FILE=str(tokens)) as running:
        for client in (running.api, running.page):
            for path in ("/api/agents/available", "/api/discovery/status", "/api/runs", "/api/events"):
                answer = client.get(path)
                assert answer.status_code == 401
                assert answer.json()["error"]["code"] == "unauthorized"
            for authorization in ("Bearer open", "Basic open sesame", "open sesame", "Bearer"):
                headers = {"Authorization": authorization}
                assert client.get("/api/runs", headers=headers).status_code == 401
            assert client.get("/api/runs", headers={"Authorization": "Bearer open sesame"}).status_code == 200
            for path in ("/health", "/ready", "/api/health/detailed"):
                assert client.get(path).status_code == 200
        assert running.api.post("/api/agents/opus/runs", json={"input": "x"}).status_code == 401
        assert "open sesame" not in running.log.read_text()


def test_production_without_tokens_runs_nothing_but_shows_itself(tmp_path: Path) -> None:
    with gateway(tmp_path, plan_of({}, agents_in(tmp_path)), ENVIRONMENT="production") as running:
        assert running.api.post("/api/agents/opus/runs", json={"input": "x"}).json()["error"]["code"] == "no_tokens"
        assert running.api.get("/api/agents/available").status_code == 200


def test_without_the_mcp_server_that_an_agent_names_its_runs_are_409(tmp_path: Path) -> None:
    with gateway(tmp_path, plan_of({}, agents_in(tmp_path))) as running:
        answer = run(running, "opus", "x")
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "agent_unavailable"
