"""The MCP tool that answers for an agent: Zen MCP's `chat`, or any other by configuration or front matter."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2
from mcp_types import CallToolResult, TextContent

from gateway.agents import Definition
from gateway.json_bounds import extent
from gateway.mcp_client import MCP_ERRORS, connected
from gateway.metrics import Metrics
from gateway.outbound import error_line
from gateway.plan import Plan, PlannedService
from gateway.settings import Settings

log = logging.getLogger(__name__)

ZEN = "zen-mcp"
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

    @property
    def own_arguments(self) -> frozenset[str]:
        """Those that a caller can't give: what the operator fixed (a directory to write to) stays fixed."""
        return frozenset(
            {self.prompt_argument, *self.extra} | ({self.model_argument} if self.model_argument else set())
        )

    def arguments(self, prompt: str, model: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the tool is called with; `given` are the caller's."""
        models = {self.model_argument: model} if self.model_argument else {}
        return {**given, **self.extra, **models, self.prompt_argument: prompt}


class ToolCaller:
    def __init__(self, seconds: float, metrics: Metrics) -> None:
        self._seconds = seconds
        self._metrics = metrics

    async def call(
        self, tool: Tool, arguments: dict[str, Any], progress: Progress, attempted: Callable[[], None]
    ) -> str:
        """The tool's answer as text; `attempted` is called before each try. Raises `ToolError`."""
        started, outcome = time.perf_counter(), "error"
        try:
            result = await self._with_retries(tool, arguments, progress, attempted)
            answer = _text_of(result)
            outcome = "ok"
            return answer
        except TimeoutError as error:
            outcome = "timeout"
            raise ToolError(f"{tool.server} did not answer within {self._seconds:g} s") from error
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.mcp_request(tool.server, tool.name, outcome, seconds)
            log.debug("tool called", extra={"server": tool.server, "tool": tool.name, "outcome": outcome})

    async def _with_retries(
        self, tool: Tool, arguments: dict[str, Any], progress: Progress, attempted: Callable[[], None]
    ) -> CallToolResult:
        async with asyncio.timeout(self._seconds):
            for pause in (*CONNECT_PAUSES, None):
                attempted()
                problem: BaseException
                try:
                    async with connected(tool.service, self._seconds) as client:
                        return await client.call_tool(tool.name, arguments, progress_callback=progress)
                except* httpx2.ConnectError as group:
                    problem = group
                except* MCP_ERRORS as group:
                    raise ToolError(f"{tool.server}: {error_line(group)}") from group
                if pause is None:
                    raise ToolError(f"{tool.server}: {error_line(problem)}") from problem
                await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")


def _text_of(result: CallToolResult) -> str:
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))[:MAX_OUTPUT_CHARACTERS]
    if result.is_error:
        raise ToolError(" ".join(text.split())[:500] or "the tool reported an error without a text")
    # Zen MCP wraps its answers: {"status": "success", "content": "…", "content_type": "text"}
    if not text.lstrip().startswith("{") or extent(text.encode(errors="replace")).problem is not None:
        return text
    try:
        wrapped = json.loads(text)
    except ValueError:
        return text
    if isinstance(wrapped, dict) and isinstance(wrapped.get("status"), str) and isinstance(wrapped.get("content"), str):
        if wrapped["status"] == "error":
            raise ToolError(" ".join(wrapped["content"].split())[:500])
        return str(wrapped["content"])
    return text


def choose_tool(plan: Plan, settings: Settings, definition: Definition) -> Tool | None:
    """The tool that answers for an agent: what its definition names, else the gateway's; None without such a server.

    A tool that a definition names gets the agent's words and what the caller gives, and nothing made for the gateway's.
    """
    servers = plan.used("mcp")
    name = definition.server or settings.agent_server or (ZEN if ZEN in servers else next(iter(servers), ""))
    if name not in servers:
        return None
    is_own = definition.tool is not None
    return Tool(
        server=name,
        service=servers[name],
        name=definition.tool or settings.agent_tool,
        prompt_argument=definition.prompt_argument or settings.prompt_argument,
        model_argument=None if is_own else settings.model_argument or None,
        extra={} if is_own else settings.extra_arguments,
    )
