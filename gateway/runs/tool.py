"""The MCP tool that answers for an agent: Zen MCP's `chat`, or any other by configuration."""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import StreamableHTTPError, streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent
from pydantic import ValidationError

from gateway.checks.answer import http_client, one_line
from gateway.checks.mcp import NPX
from gateway.metrics import Metrics
from gateway.plan import Plan, PlannedService, mcp_url
from gateway.settings import Settings

log = logging.getLogger(__name__)

ZEN = "zen-mcp"
CONNECT_SECONDS = 5.0
# Only a connection that was never made is tried again: a tool that may have begun must not run twice.
CONNECT_PAUSES = (0.2, 0.5)
MAX_OUTPUT_CHARACTERS = 1_000_000


class Progress(Protocol):
    """Told how far the tool is, in the tool's own unit."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


class ToolError(Exception):
    """The tool did not answer; the text is one line for people."""


@dataclass(frozen=True)
class Tool:
    """Which tool, and how it takes an agent's words. `extra` are arguments sent as they are."""

    server: str
    service: PlannedService
    name: str
    prompt_argument: str
    model_argument: str | None
    extra: Mapping[str, Any]


class ToolCaller:
    def __init__(self, tool: Tool, seconds: float, metrics: Metrics) -> None:
        self.tool = tool
        self._seconds = seconds
        self._metrics = metrics

    async def call(self, prompt: str, model: str, progress: Progress, attempted: Callable[[], None]) -> str:
        """The tool's answer as text; `attempted` is called before each try. Raises `ToolError`."""
        arguments = {**self.tool.extra, self.tool.prompt_argument: prompt}
        if self.tool.model_argument:
            arguments[self.tool.model_argument] = model
        started, outcome = time.perf_counter(), "error"
        try:
            result = await self._with_retries(arguments, progress, attempted)
            answer = _text_of(result)
            outcome = "ok"
            return answer
        except TimeoutError as error:
            outcome = "timeout"
            raise ToolError(f"{self.tool.server} did not answer within {self._seconds:g} s") from error
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.mcp_request(self.tool.server, self.tool.name, outcome, seconds)
            log.debug("tool called", extra={"server": self.tool.server, "tool": self.tool.name, "outcome": outcome})

    async def _with_retries(
        self, arguments: dict[str, Any], progress: Progress, attempted: Callable[[], None]
    ) -> CallToolResult:
        async with asyncio.timeout(self._seconds):
            for pause in (*CONNECT_PAUSES, None):
                attempted()
                problem: BaseException
                try:
                    return await self._once(arguments, progress)
                except* httpx2.ConnectError as group:
                    problem = group
                except* (MCPError, StreamableHTTPError, httpx2.HTTPError, ValidationError, OSError) as group:
                    raise ToolError(f"{self.tool.server}: {one_line(group)}") from group
                if pause is None:
                    raise ToolError(f"{self.tool.server}: {one_line(problem)}") from problem
                await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")

    async def _once(self, arguments: dict[str, Any], progress: Progress) -> CallToolResult:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(await self._client(stack))
            return await client.call_tool(self.tool.name, arguments, progress_callback=progress)

    async def _client(self, stack: AsyncExitStack) -> Client:
        service = self.tool.service
        assert service.endpoint is not None
        if service.endpoint.startswith(NPX):
            # npx:@upstash/context7-mcp
            package = shlex.split(service.endpoint.removeprefix(NPX))
            return Client(StdioServerParameters(command="npx", args=["-y", *package], env={"HOME": "/tmp"}))
        secret = service.secret()
        headers = {"Authorization": f"Bearer {secret}"} if secret else None
        http = await stack.enter_async_context(http_client(CONNECT_SECONDS, headers))
        # Answers may take as long as the run may; only connecting is short.
        http.timeout = httpx2.Timeout(self._seconds, connect=CONNECT_SECONDS)
        return Client(streamable_http_client(mcp_url(service.endpoint), http_client=http))


def _text_of(result: CallToolResult) -> str:
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))[:MAX_OUTPUT_CHARACTERS]
    if result.is_error:
        raise ToolError(" ".join(text.split())[:500] or "the tool reported an error without a text")
    # Zen MCP wraps its answers: {"status": "success", "content": "…", "content_type": "text"}
    try:
        wrapped = json.loads(text)
    except ValueError:
        return text
    if isinstance(wrapped, dict) and isinstance(wrapped.get("status"), str) and isinstance(wrapped.get("content"), str):
        if wrapped["status"] == "error":
            raise ToolError(" ".join(wrapped["content"].split())[:500])
        return str(wrapped["content"])
    return text


def choose_tool(plan: Plan, settings: Settings) -> Tool | None:
    """The tool that answers for every agent; None when the plan has no such server."""
    servers = plan.used("mcp")
    name = settings.agent_server or (ZEN if ZEN in servers else next(iter(servers), ""))
    if name not in servers:
        return None
    return Tool(
        server=name,
        service=servers[name],
        name=settings.agent_tool,
        prompt_argument=settings.prompt_argument,
        model_argument=settings.model_argument or None,
        extra=settings.extra_arguments,
    )
