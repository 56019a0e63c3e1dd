"""Redis: PING, then INFO for who it is and whether it can take writes; over REST, PING only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from gateway.checks.answer import Answer
from gateway.outbound import error_line
from gateway.plan import PlannedService
from gateway.runs.stores import RestStore, StoreError, is_rest


async def ask_redis(service: PlannedService, seconds: float) -> Answer:
    assert service.endpoint is not None
    if is_rest(service.endpoint):
        return await _ask_rest(service)
    try:
        client = Redis.from_url(
            service.endpoint,
            password=service.secret(),
            protocol=2,
            socket_connect_timeout=seconds,
            socket_timeout=seconds,
        )
        async with client:
            await client.ping()
            try:
                info = await client.info()
            except NoPermissionError:
                return Answer("ok", problem="INFO is not permitted, so version and memory are unknown")
    except AuthenticationError as error:
        return Answer("down", problem=f"wrong or missing password: {error_line(error)}")
    except (RedisError, OSError) as error:
        return Answer("down", problem=error_line(error))
    version = str(info.get("valkey_version") or info.get("redis_version"))
    if info.get("role") != "master":
        return Answer("degraded", version, f"is a {info.get('role')}, which takes no writes")
    problem, is_well = memory_problem(info)
    return Answer("ok" if is_well else "degraded", version, problem)


def memory_problem(info: Mapping[str, Any]) -> tuple[str | None, bool]:
    """What INFO says of room and eviction, in one line, and whether all is well nevertheless."""
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy, evicted = str(info.get("maxmemory_policy", "noeviction")), int(info.get("evicted_keys", 0))
    if policy != "noeviction" and evicted:
        return f"has evicted {evicted} keys by its policy {policy}: {_AT_RISK}; {_REMEDY}", False
    if limit and used >= limit * _NEARLY_FULL:
        then = "evicts nothing" if policy == "noeviction" else f"then evicts by its policy {policy}: {_AT_RISK}"
        return f"is {'full' if used >= limit else 'nearly full'}: {used} of {limit} bytes, and {then}", False
    if policy != "noeviction" and limit:
        return f"its policy {policy} evicts when it is full: {_AT_RISK}; {_REMEDY}", True
    return None, True


_NEARLY_FULL = 0.9
_AT_RISK = "sessions, Idempotency-Keys and records may be among them"
_REMEDY = "set maxmemory-policy noeviction"


async def _ask_rest(service: PlannedService) -> Answer:
    store = RestStore(service)
    try:
        await store.execute([("PING",)])
    except StoreError as error:
        return Answer("down", problem=str(error))
    finally:
        await store.close()
    return Answer("ok")
