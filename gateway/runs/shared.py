"""Redis as something that may be away: every use has a default, and after a failure it is left alone for a moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.plan import Plan

log = logging.getLogger(__name__)

# Short, because a run waits for it; a Redis slower than this is of no use as a cache.
TIMEOUT_SECONDS = 0.5
RETRY_SECONDS = 1.0

T = TypeVar("T")


class Shared:
    """`problem` is why Redis was not used last time, None when it was. Keys begin with `prefix`."""

    def __init__(self, redis: Redis | None, prefix: str) -> None:
        self.redis = redis
        self.prefix = prefix
        self.problem: str | None = None if redis else "no Redis in the plan"
        self._from = 0.0

    def key(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))

    async def use(self, operation: Callable[[Redis], Awaitable[T]], default: T) -> T:
        """What `operation` returns, or `default` when Redis is away, refuses, or was away a moment ago."""
        if self.redis is None or time.monotonic() < self._from:
            return default
        try:
            result = await operation(self.redis)
        except (RedisError, OSError) as error:
            if self.problem is None:
                log.warning("Redis is not used: %s", error)
            self.problem = str(error)
            self._from = time.monotonic() + RETRY_SECONDS
            return default
        self.problem = None
        return result


def connect(plan: Plan) -> Shared:
    """The plan's Redis, or none. Only `redis://` and `rediss://` are used here, not Upstash's REST."""
    # The braces keep all keys of a stack on one node of a cluster, which the ledger's script needs.
    prefix = f"{{promptcraft:{plan.project}:{plan.stack}}}"
    for service in plan.used("redis").values():
        if service.endpoint is not None and service.endpoint.startswith(("redis://", "rediss://")):
            redis = Redis.from_url(
                service.endpoint,
                password=service.secret(),
                protocol=2,
                decode_responses=True,
                socket_connect_timeout=TIMEOUT_SECONDS,
                socket_timeout=TIMEOUT_SECONDS,
                health_check_interval=30,
            )
            return Shared(redis, prefix)
    return Shared(None, prefix)
