"""Idempotency keys through every way in which a request can end, on two replicas beside one Redis."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis import Redis

from gateway.plan import Plan as GatewayPlan
from gateway.runs.keys import Keys
from gateway.runs.record import RunRecord, now
from gateway.runs.shared import connect
from gateway.runs.shelves import Shelf
from gateway.tests.conftest import (
    Gateway,
    Plan,
    Process,
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

RUN = RunRecord(
    id="1", agent="opus", status="running", model="m", server="zen-mcp", tool="chat", replica="near", created=now()
)


@dataclass
class Stage:
    """Two replicas; `pool` is for requests that take a while."""

    near: Gateway
    far: Gateway
    redis: Redis
    redis_process: Process
    mcp_url: str
    plan: Plan
    folder: Path
    pool: ThreadPoolExecutor

    def ask(self, on: Gateway, key: str | None, text: str, model: str = "opus", **more: Any) -> httpx2.Response:
        with plain_client(on.api.base_url) as client:
            headers = {"Idempotency-Key": key} if key else {}
            return client.post(f"/api/agents/{model}/runs", json={"input": text, **more}, headers=headers)

    def asking(
        self, on: Gateway, key: str | None, text: str, status: str, model: str = "opus"
    ) -> Future[httpx2.Response]:
        """The answer to come, of a run that has `status` already."""
        known = {one["id"] for one in on.api.get("/api/runs").json()["runs"]}
        answer = self.pool.submit(self.ask, on, key, text, model)

        def is_there() -> bool:
            return any(
                one["status"] == status and one["id"] not in known for one in on.api.get("/api/runs").json()["runs"]
            )

        wait_until(is_there, f"the run is {status}")
        return answer

    def cancel(self, on: Gateway, status: str) -> None:
        for one in on.api.get("/api/runs").json()["runs"]:
            if one["status"] == status:
                on.api.post(f"/api/runs/{one['id']}/cancel")

    def calls(self) -> int:
        return int(counts(self.mcp_url)["calls"].get("all", 0))

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.redis_process.popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.redis_process.popen.send_signal(signal.SIGCONT)


@contextmanager
def built(folder: Path, **environment: str) -> Iterator[Stage]:
    """One slot for all; the tool takes half a second."""
    with ExitStack() as stack:
        port, redis = stack.enter_context(redis_server(folder))
        url, _ = stack.enter_context(counting_mcp(folder, delay=0.5))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        plan = plan_of(services, agents_in(folder), max_concurrent_agents=1)
        near = stack.enter_context(gateway(folder, plan, name="near", **environment))
        far = stack.enter_context(gateway(folder, plan, name="far", **environment))
        pool = stack.enter_context(ThreadPoolExecutor(64))
        client = stack.enter_context(Redis(port=port, decode_responses=True))
        yield Stage(near, far, client, redis, url, plan, folder, pool)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with built(tmp_path_factory.mktemp("keys")) as shared:
        yield shared


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[Stage]:
    with built(tmp_path) as own:
        yield own


def outcome(answer: httpx2.Response) -> tuple[int, str, str]:
    """Status, run and what became of it, which must be the same whenever a key is used again."""
    return answer.status_code, answer.json()["id"], answer.json()["status"]


@pytest.mark.parametrize("first_key", [None, "joined-first"])
def test_a_key_that_joined_an_equal_run_names_the_run_that_answered(stage: Stage, first_key: str | None) -> None:
    text, key = f"Joined {first_key}", f"joined-{first_key}"
    before = stage.calls()
    first = stage.asking(stage.near, first_key, text, "running")
    joined = outcome(stage.ask(stage.near, key, text))
    assert joined == outcome(first.result())
    for on in (stage.near, stage.far):
        assert outcome(stage.ask(on, key, text)) == joined
        if first_key:
            assert outcome(stage.ask(on, first_key, text)) == joined
    assert stage.calls() == before + 1


def test_a_key_that_joined_a_run_of_another_replica_names_what_answered(stage: Stage) -> None:
    first = stage.asking(stage.near, "elsewhere-1", "Joined elsewhere", "running")
    joined = outcome(stage.ask(stage.far, "elsewhere-2", "Joined elsewhere"))
    assert first.result().json()["status"] == joined[2] == "succeeded"
    assert {outcome(stage.ask(on, "elsewhere-2", "Joined elsewhere")) for on in (stage.near, stage.far)} == {joined}


def test_one_key_at_one_moment_on_two_replicas_makes_one_run(stage: Stage) -> None:
    before = stage.calls()
    asked = [(on, number) for number in range(8) for on in (stage.near, stage.far)]
    answers = list(stage.pool.map(lambda it: stage.ask(it[0], f"moment-{it[1]}", f"At once {it[1]}"), asked))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    seen = {outcome(answer) for answer in answers}
    assert (len(seen), stage.calls()) == (8, before + 8)


def test_one_key_with_another_body_is_409_wherever_and_whenever(stage: Stage) -> None:
    first = stage.asking(stage.near, "another", "One body", "running")
    for _ in range(2):
        for on in (stage.near, stage.far):
            for more in ({"text": "Another body"}, {"text": "One body", "arguments": {"a": 1}}):
                refused = stage.ask(on, "another", **more)
                assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_reused")
        first.result()
    # The same key for another agent is another key.
    assert stage.ask(stage.far, "another", "Another body", "haiku").json()["status"] == "succeeded"


def test_a_key_of_a_run_that_failed_or_came_from_the_cache_names_it(stage: Stage) -> None:
    before = stage.calls()
    failed = outcome(stage.ask(stage.near, "failed", "FAIL"))
    assert failed[2] == "failed"
    made = stage.ask(stage.near, None, "Cached").json()["id"]
    cached = outcome(stage.ask(stage.near, "cached", "Cached"))
    assert cached[1] != made
    for on in (stage.near, stage.far):
        assert outcome(stage.ask(on, "failed", "FAIL")) == failed
        assert outcome(stage.ask(on, "cached", "Cached")) == cached
    assert stage.calls() == before + 2


def test_a_request_that_was_refused_leaves_its_key_free(stage: Stage) -> None:
    fixed = stage.ask(stage.near, "free", "Refused", arguments={"prompt": "mine"})
    assert fixed.status_code == 422
    file = Path(stage.plan["agents"]["opus"]["file"])
    definition = file.read_text()
    file.write_text("{")
    try:
        assert stage.ask(stage.near, "free", "Refused").status_code == 409
    finally:
        file.write_text(definition)
    assert stage.ask(stage.far, "free", "Refused").json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"PROMPTCRAFT_QUEUE_SECONDS": "0.3"}, "queue_timeout"), ({"PROMPTCRAFT_QUEUE_LIMIT": "0"}, "queue_full")],
)
def test_after_429_the_same_request_runs(tmp_path: Path, limits: dict[str, str], code: str) -> None:
    with built(tmp_path, **limits) as stage:
        stage.asking(stage.near, None, "SLOW", "running", "haiku")
        for on in (stage.near, stage.far):
            refused = stage.ask(on, f"busy-{id(on)}", "My turn?")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, code)
        stage.cancel(stage.near, "running")
        again = stage.ask(stage.near, f"busy-{id(stage.far)}", "My turn?")
        assert again.json()["status"] == "succeeded", again.text
        assert stage.ask(stage.far, f"busy-{id(stage.near)}", "My turn?").json()["status"] == "succeeded"


def test_a_client_that_went_away_finds_its_run(stage: Stage) -> None:
    before = stage.calls()
    body, headers = {"input": "Gone"}, {"Idempotency-Key": "gone", "Accept": "text/event-stream"}
    with (
        plain_client(stage.near.api.base_url) as client,
        client.stream("POST", "/api/agents/opus/runs", json=body, headers=headers) as events,
    ):
        assert "event: started" in iter(events.iter_lines())
    again = outcome(stage.ask(stage.far, "gone", "Gone"))
    assert again[2] == "succeeded"
    assert outcome(stage.ask(stage.near, "gone", "Gone")) == again
    assert stage.calls() == before + 1


def test_a_run_cancelled_while_it_waited_leaves_its_key_free_and_one_that_ran_does_not(stage: Stage) -> None:
    before = stage.calls()
    running = stage.asking(stage.near, "ran", "SLOW ran", "running")
    waiting = stage.asking(stage.near, "waited", "Waited", "queued")
    stage.cancel(stage.near, "queued")
    stage.cancel(stage.near, "running")
    assert waiting.result().json()["status"] == running.result().json()["status"] == "cancelled"
    assert stage.ask(stage.far, "waited", "Waited").json()["status"] == "succeeded"
    assert outcome(stage.ask(stage.far, "ran", "SLOW ran")) == outcome(running.result())
    assert stage.calls() == before + 2


def test_a_key_lasts_a_day_once_its_run_began_and_moments_before(stage: Stage) -> None:
    known = set(stage.redis.scan_iter("*:once:*"))
    running = stage.asking(stage.near, None, "SLOW while it waits", "running")
    waiting = stage.asking(stage.near, "lasting", "How long?", "queued")

    def lasts() -> int:
        (key,) = set(stage.redis.scan_iter("*:once:*")) - known
        return int(stage.redis.ttl(key))

    assert 0 < lasts() <= 15
    stage.cancel(stage.near, "running")
    running.result()
    waiting.result()
    assert lasts() > 23 * 3600


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_replica_that_ends_before_the_run_began_leaves_the_key_free(own_stage: Stage, how: str) -> None:
    stage = own_stage
    stage.asking(stage.far, None, "SLOW", "running", "haiku")
    doomed = stage.pool.submit(_answer_or_none, stage, stage.near, "early", "Early")
    wait_until(lambda: list(stage.redis.scan_iter("*:once:*")) != [], "the key is claimed")
    getattr(stage.near.process, how)()
    doomed.result()
    stage.cancel(stage.far, "running")
    assert stage.ask(stage.far, "early", "Early").json()["status"] == "succeeded"
    assert stage.calls() == 2


def test_a_replica_that_dies_in_a_run_leaves_the_key_spent(own_stage: Stage) -> None:
    stage = own_stage
    doomed = stage.pool.submit(_answer_or_none, stage, stage.near, "late", "SLOW late")
    wait_until(lambda: stage.calls() == 1, "the tool is called")
    stage.near.process.kill()
    doomed.result()
    again = stage.ask(stage.far, "late", "SLOW late")
    assert (again.status_code, again.json()["status"]) == (200, "failed")
    assert again.json()["error"] == "the replica that ran it is gone"
    assert stage.calls() == 1


def test_a_pause_of_redis_in_a_run_loses_no_key(own_stage: Stage) -> None:
    """However long: the sign of life of the replica has lapsed when Redis goes on."""
    stage = own_stage
    answer = stage.pool.submit(stage.ask, stage.near, "paused", "Paused")
    wait_until(lambda: stage.calls() == 1, "the tool is called")
    with stage.paused():
        first = outcome(answer.result())
        assert first[2] == "succeeded"
    for key in stage.redis.scan_iter("*:replica:*"):
        stage.redis.delete(key)
    for on in (stage.far, stage.near):
        assert outcome(stage.ask(on, "paused", "Paused")) == first
    assert stage.calls() == 1


def test_a_pause_of_redis_while_a_run_waits_is_503_and_leaves_the_key_free(own_stage: Stage) -> None:
    stage = own_stage
    stage.asking(stage.near, None, "SLOW", "running", "haiku")
    waiting = stage.asking(stage.near, "waiting", "Waiting", "queued")
    with stage.paused():
        stage.cancel(stage.near, "running")
        refused = waiting.result()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "keys_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        asked = stage.ask(stage.far, "new", "New")
        assert (asked.status_code, asked.json()["error"]["code"]) == (503, "keys_unavailable")
        # Without a key nothing is promised, and it runs.
        assert stage.ask(stage.far, None, "New").json()["status"] == "succeeded"

    def runs(key: str, text: str) -> bool:
        answer = stage.ask(stage.far, key, text)
        return bool(answer.status_code == 200 and answer.json()["status"] == "succeeded")

    for key, text in (("waiting", "Waiting"), ("new", "New and other")):
        wait_until(lambda key=key, text=text: runs(key, text), f"{key} runs")  # type: ignore[misc]


def test_keys_go_with_the_data_of_redis(own_stage: Stage) -> None:
    first = outcome(own_stage.ask(own_stage.near, "lost", "Lost"))
    own_stage.redis.flushall()
    again = outcome(own_stage.ask(own_stage.near, "lost", "Lost"))
    assert again[2] == "succeeded"
    assert again[1] != first[1]


def test_without_a_redis_a_key_is_503(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        plan = plan_of({"zen-mcp": service("mcp", url)}, agents_in(tmp_path))
        alone = stack.enter_context(gateway(tmp_path, plan))
        headers = {"Idempotency-Key": "alone"}
        answer = alone.api.post("/api/agents/opus/runs", json={"input": "Alone"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "keys_unavailable")


def test_a_claim_that_lapsed_leaves_the_key_to_whoever_has_it_now(tmp_path: Path) -> None:
    async def lapse(url: str, client: Redis) -> None:
        shared = connect(GatewayPlan.model_validate(plan_of({"redis": service("redis", url)})))
        keys = Keys(shared, Shelf(shared, "keys", 2**20, lambda kind, count: None))
        early, late = (keys.draft("a" * 16, "opus", "word", "the question") for _ in range(2))
        assert await keys.claim(early) is True
        client.delete(early.key)
        assert await keys.claim(late) is True
        assert not await keys.keep(early, RUN)
        await keys.release(early)
        assert await keys.claim(early) is False
        assert await keys.keep(late, RUN)
        assert await keys.claim(early) == RUN
        await shared.close()

    with redis_server(tmp_path) as (port, _), Redis(port=port) as client:
        asyncio.run(lapse(f"redis://127.0.0.1:{port}", client))


def _answer_or_none(stage: Stage, on: Gateway, key: str, text: str) -> httpx2.Response | None:
    try:
        return stage.ask(on, key, text)
    except httpx2.TransportError:
        return None
