"""One connection to an MCP server, made when it is first needed and kept for all that follows.

It has a task of its own: what breaks a connection cancels the task that opened it, and that must be nobody's who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import httpx2
from mcp.client.client import Client

from gateway.mcp_client import CONNECT_PAUSES, MCP_ERRORS
from gateway.outbound import error_line
from gateway.runs.way import AnswerError

_END_SECONDS = 2.0

Reply = TypeVar("Reply")


class Kept:
    """`connect` makes the connection; `name` is the server's, for messages."""

    def __init__(self, name: str, connect: Callable[[], AbstractAsyncContextManager[Client]]) -> None:
        self._name = name
        self._connect = connect
        self._task: asyncio.Task[None] | None = None
        self._client: asyncio.Future[Client] | None = None
        self._closing = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the connection is no more, or is about to be closed."""
        return self._closing.is_set() or (self._task is not None and self._task.done())

    async def client(self) -> Client:
        """Raises `AnswerError` where no connection is to be had; nothing was asked then."""
        if self._task is None:
            self._client = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep(self._client))
        assert self._client is not None
        both: set[asyncio.Future[Any]] = {self._client, self._task}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if self._client.done() and not self._client.cancelled():
            return self._client.result()
        raise AnswerError(f"{self._name}: the connection was lost")

    async def ask(self, send: Callable[[Client], Awaitable[Reply]]) -> Reply:
        """Raises `AnswerError` where nothing was sent, `ConnectionError` where the outcome is unknown."""
        client = await self.client()
        assert self._task is not None
        if self._task.done():
            raise AnswerError(f"{self._name}: the connection was lost")
        asking = asyncio.ensure_future(send(client))
        try:
            await asyncio.wait({asking, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise ConnectionError("the connection was lost during the call")
            return asking.result()
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking}, timeout=_END_SECONDS)

    async def close(self) -> None:
        self._closing.set()
        if self._task is None:
            return
        done, _ = await asyncio.wait({self._task}, timeout=_END_SECONDS)
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_END_SECONDS)

    async def _keep(self, made: asyncio.Future[Client]) -> None:
        problem: BaseException
        for pause in (*CONNECT_PAUSES, None):
            try:
                async with self._connect() as client:
                    made.set_result(client)
                    await self._closing.wait()
                return
            except* httpx2.ConnectError as group:
                problem = group
            except* MCP_ERRORS as group:
                problem, pause = group, None
            if made.done():
                return
            if pause is None:
                made.set_exception(AnswerError(f"{self._name}: {error_line(problem)}"))
                return
            await asyncio.sleep(pause)
