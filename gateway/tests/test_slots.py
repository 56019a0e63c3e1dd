"""The limits: the pure rule, and the same rule in a real Redis, over several replicas."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.runs.desk import Desk, QueueFull
from gateway.runs.slots import LocalLedger, RedisLedger, Runs, SlotLimits, Standing, who_may_start
from gateway.tests.conftest import redis_server

LIMITS = SlotLimits(total=4, models={"opus": 1, "sonnet": 3}, queue=5)
MODELS = st.sampled_from(["opus", "sonnet", "haiku"])


@settings(deadline=None)
@given(st.lists(MODELS, max_size=4), st.lists(MODELS, max_size=12))
def test_no_limit_is_passed_no_slot_is_wasted_and_nobody_of_a_model_overtakes(
    running: list[str], waiting: list[str]
) -> None:
    queue = [(str(place), model) for place, model in enumerate(waiting)]
    started = who_may_start(LIMITS, running, queue)
    models = dict(queue)
    new = Counter(models[run] for run in started)
    total = len(running) + len(started)
    assert total <= max(LIMITS.total, len(running))
    for model, count in new.items():
        assert count + running.count(model) <= LIMITS.models.get(model, LIMITS.total)
    for run, model in queue:
        if run not in started:
            earlier = [other for other in started if models[other] == model]
            assert all(int(other) < int(run) for other in earlier)
            is_full = new[model] + running.count(model) >= LIMITS.models.get(model, LIMITS.total)
            assert is_full or total >= LIMITS.total


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as (port, _):
        yield port


@asynccontextmanager
async def empty_redis(port: int) -> AsyncIterator[Redis]:
    redis = Redis(port=port, decode_responses=True, protocol=2)
    await redis.flushall()
    try:
        yield redis
    finally:
        await redis.aclose()


def test_redis_and_the_pure_rule_agree(redis_port: int) -> None:
    async def check() -> None:
        async with empty_redis(redis_port) as redis:
            ledger, local = RedisLedger(redis, "{t}", LIMITS), LocalLedger(LIMITS)
            waiting = {"a": "opus", "b": "opus", "c": "sonnet", "d": "haiku", "e": "sonnet", "f": "haiku"}
            there, here = await ledger.settle(waiting, {}, []), await local.settle(waiting, {}, [])
            assert there == here
            assert there.granted == {"a", "c", "d", "e"}
            holding = {run: waiting.pop(run) for run in there.granted}
            del holding["a"]
            there, here = await ledger.settle(waiting, holding, ["a"]), await local.settle(waiting, holding, ["a"])
            assert there == here
            assert there.granted == {"b"}
            assert there.waiting == 1

    asyncio.run(check())


def test_the_queue_is_bounded_and_refuses_the_latest(redis_port: int) -> None:
    async def check() -> None:
        async with empty_redis(redis_port) as redis:
            for ledger in (RedisLedger(redis, "{t}", LIMITS), LocalLedger(LIMITS)):
                standing = await ledger.settle({f"{place:02}": "opus" for place in range(8)}, {}, [])
                assert standing.granted == {"00"}
                assert standing.refused == {"06", "07"}
                assert standing.waiting == 5

    asyncio.run(check())


def test_a_grant_whose_answer_was_lost_is_told_again_and_costs_one_slot(redis_port: int) -> None:
    async def check() -> None:
        async with empty_redis(redis_port) as redis:
            ledger = RedisLedger(redis, "{t}", LIMITS)
            assert (await ledger.settle({"a": "opus"}, {}, [])).granted == {"a"}
            again = await ledger.settle({"a": "opus", "b": "opus"}, {}, [])
            assert again.granted == {"a"}
            assert again.running == {"opus": 1}

    asyncio.run(check())


def test_a_run_of_another_replica_that_came_first_goes_first(redis_port: int) -> None:
    async def check() -> None:
        async with empty_redis(redis_port) as redis:
            ledger = RedisLedger(redis, "{t}", LIMITS)
            await ledger.settle({"held": "opus"}, {}, [])
            await ledger.settle({"first": "opus"}, {}, [])
            assert not (await ledger.settle({"second": "opus"}, {}, ["held"])).granted
            assert (await ledger.settle({"first": "opus"}, {}, [])).granted == {"first"}

    asyncio.run(check())


def test_the_slots_of_a_dead_replica_are_free_again_after_the_lease(redis_port: int) -> None:
    async def check() -> None:
        async with empty_redis(redis_port) as redis:
            ledger = RedisLedger(redis, "{t}", LIMITS, lease_seconds=0.3)
            assert (await ledger.settle({"dead": "opus"}, {}, [])).granted
            assert not (await ledger.settle({"next": "opus"}, {}, [])).granted
            async with asyncio.timeout(5):
                while not (await ledger.settle({"next": "opus"}, {}, [])).granted:
                    await asyncio.sleep(0.02)

    asyncio.run(check())


def test_a_lease_that_is_renewed_outlives_its_time(redis_port: int) -> None:
    async def check() -> None:
        async with empty_redis(redis_port) as redis:
            ledger = RedisLedger(redis, "{t}", LIMITS, lease_seconds=0.3)
            await ledger.settle({"alive": "opus"}, {}, [])
            loop = asyncio.get_running_loop()
            until = loop.time() + 1
            while loop.time() < until:
                standing = await ledger.settle({"next": "opus"}, {"alive": "opus"}, [])
                assert not standing.granted
                await asyncio.sleep(0.05)

    asyncio.run(check())


def test_without_redis_the_desk_keeps_the_limits_of_this_replica_and_says_so(tmp_path: Path) -> None:
    async def check() -> None:
        with redis_server(tmp_path) as (port, server):
            redis = Redis(port=port, decode_responses=True, protocol=2, socket_timeout=0.5)
            desk = Desk(LIMITS, RedisLedger(redis, "{t}", LIMITS), 120)
            working = asyncio.create_task(desk.work())
            async with desk.slot("one", "opus"):
                assert desk.problem is None
                server.kill()
                waiting = asyncio.create_task(_hold(desk, "two", "opus"))
                async with asyncio.timeout(60):
                    while desk.problem is None:
                        await asyncio.sleep(0.02)
                async with desk.slot("three", "sonnet"):
                    pass
                assert not waiting.done()
            async with asyncio.timeout(60):
                await waiting
            with redis_server(tmp_path, port=port):
                async with asyncio.timeout(60):
                    while desk.problem is not None:
                        async with desk.slot("four", "haiku"):
                            await asyncio.sleep(0.05)
            working.cancel()
            await redis.aclose()

    asyncio.run(check())


def test_a_run_that_gives_up_waiting_leaves_no_trace() -> None:
    async def check() -> None:
        desk = Desk(SlotLimits(total=1, models={}, queue=1), None, 60)
        working = asyncio.create_task(desk.work())
        async with desk.slot("one", "opus"):
            patient = asyncio.create_task(_hold(desk, "two", "opus"))
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await patient
            async with asyncio.timeout(5):
                while desk.standing.waiting:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(5), desk.slot("three", "opus"):
            crowd = [asyncio.create_task(_hold(desk, f"crowd-{place}", "opus")) for place in range(3)]
            done, _ = await asyncio.wait(crowd, return_when=asyncio.FIRST_EXCEPTION)
            assert any(isinstance(task.exception(), QueueFull) for task in done)
            for task in crowd:
                task.cancel()
        working.cancel()

    asyncio.run(check())


async def _hold(desk: Desk, run: str, model: str) -> None:
    async with desk.slot(run, model):
        pass


class _Flaky:
    """A ledger that fails as long as it is told to."""

    def __init__(self) -> None:
        self.fails = False
        self._inner = LocalLedger(LIMITS)

    async def settle(self, waiting: Runs, holding: Runs, released: Sequence[str]) -> Standing:
        if self.fails:
            raise RedisError("away")
        return await self._inner.settle(waiting, holding, released)


def test_while_redis_only_pauses_nothing_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runs.desk.PATIENCE_SECONDS", 60.0)

    async def check() -> None:
        ledger = _Flaky()
        desk = Desk(LIMITS, ledger, queue_seconds=60)
        working = asyncio.create_task(desk.work())
        async with desk.slot("one", "sonnet"):
            ledger.fails = True
            patient = asyncio.create_task(_hold(desk, "two", "sonnet"))
            async with asyncio.timeout(5):
                while desk.standing.waiting != 1:
                    await asyncio.sleep(0.01)
            assert not patient.done()
            assert desk.problem is None
            ledger.fails = False
            async with asyncio.timeout(5):
                await patient
        working.cancel()

    asyncio.run(check())
