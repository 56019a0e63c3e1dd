"""Redis by its own protocol, and Redis behind Upstash's REST: the same commands, two transports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.outbound import error_line, http_client
from gateway.plan import PlannedService

# Short, because a run waits for it; a Redis slower than this is of no use as a cache.
TIMEOUT_SECONDS = 0.5
# A round trip over the internet, TLS included.
REST_TIMEOUT_SECONDS = 3.0

Command = tuple[str | int, ...]
"""A command as Redis documents it: `("SET", "key", "value", "EX", 60)`."""


class StoreError(Exception):
    """The store is away or refuses; the text is one line for people."""


class Store(Protocol):
    """Carries out commands in their order, not as a transaction; text replies are `str`. Raises `StoreError`."""

    async def execute(self, commands: Sequence[Command]) -> list[Any]: ...

    async def close(self) -> None: ...


class RedisStore:
    """`redis` is for what needs more than commands: the ledger's script."""

    def __init__(self, service: PlannedService) -> None:
        assert service.endpoint is not None
        self.redis = Redis.from_url(
            service.endpoint,
            password=service.secret(),
            protocol=2,
            decode_responses=True,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            health_check_interval=30,
        )

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        try:
            if len(commands) == 1:
                return [await self.redis.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
            async with self.redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return list(await pipe.execute())
        except (RedisError, OSError) as error:
            raise StoreError(error_line(error)) from error

    async def close(self) -> None:
        await self.redis.aclose()


class RestStore:
    """Upstash's REST: a command is a JSON list, a pipeline a list of them; the token goes as bearer.

    Source: https://upstash.com/docs/redis/features/restapi. Its own Python client would bring a second HTTP library.
    """

    def __init__(self, service: PlannedService) -> None:
        assert service.endpoint is not None
        secret = service.secret()
        headers = {"Authorization": f"Bearer {secret}"} if secret else None
        self._url = service.endpoint.rstrip("/")
        self._client = http_client(REST_TIMEOUT_SECONDS, headers)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        try:
            answer = await self._client.post(f"{self._url}/pipeline", json=[list(command) for command in commands])
            replies: Any = answer.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise StoreError(error_line(error)) from error
        # Without a right token, or for what is no pipeline: {"error": "Unauthorized"}
        if isinstance(replies, dict) and "error" in replies:
            raise StoreError(str(replies["error"])[:200])
        if answer.status_code != 200 or not isinstance(replies, list) or len(replies) != len(commands):
            raise StoreError(f"answered {answer.status_code}, not as Redis over REST")
        return [_result(reply) for reply in replies]

    async def close(self) -> None:
        await self._client.aclose()


def is_rest(endpoint: str) -> bool:
    return urlsplit(endpoint).scheme in ("http", "https")


def _result(reply: Any) -> Any:
    # {"result": "OK"} or {"error": "OOM command not allowed …"}
    if not isinstance(reply, dict) or "result" not in reply:
        raise StoreError(str(reply.get("error") if isinstance(reply, dict) else "not as Redis over REST")[:200])
    return reply["result"]
