"""The MCP tool that answers for an agent that names one, or for all of them where the operator says so."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp_types import CallToolResult, TextContent

from gateway.agents import Definition
from gateway.json_bounds import extent
from gateway.mcp_client import CONNECT_PAUSES, MCP_ERRORS, connected
from gateway.metrics import Metrics
from gateway.outbound import error_line
from gateway.pins.guard import ToolGuard
from gateway.plan import Plan, PlannedService
from gateway.runs.sessions import Turn, conversation
from gateway.runs.way import Answer, AnswerError, Prepared, Told
from gateway.settings import Settings

log = logging.getLogger(__name__)

ZEN = "zen-mcp"
MAX_OUTPUT_CHARACTERS = 1_000_000


class ToolError(AnswerError):
    """The tool did not answer."""


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
    def __init__(self, seconds: float, metrics: Metrics, guard: ToolGuard) -> None:
        self._seconds = seconds
        self._metrics = metrics
        self._guard = guard

    async def call(self, tool: Tool, arguments: dict[str, Any], told: Told) -> str:
        """The tool's answer as text. Raises `ToolError`."""
        started, outcome = time.perf_counter(), "error"
        try:
            result = await self._with_retries(tool, arguments, told)
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

    async def _with_retries(self, tool: Tool, arguments: dict[str, Any], told: Told) -> CallToolResult:
        async with asyncio.timeout(self._seconds):
            for pause in (*CONNECT_PAUSES, None):
                told.attempted()
                problem: BaseException
                try:
                    async with connected(tool.service, self._seconds) as client:
                        # Raised outside: in here it would become part of a group.
                        refusal = await self._guard.refusal(tool.server, client, tool.name)
                        if refusal is None:
                            return await client.call_tool(tool.name, arguments, progress_callback=told.progress)
                except* httpx2.ConnectError as group:
                    problem = group
                except* MCP_ERRORS as group:
                    raise ToolError(f"{tool.server}: {error_line(group)}") from group
                else:
                    raise ToolError(str(refusal))
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


@dataclass(frozen=True)
class ToolWay:
    """The one tool that answers for an agent, as a `Way`."""

    chosen: Tool
    caller: ToolCaller
    answered_by: None = None

    @property
    def server(self) -> str:
        return self.chosen.server

    @property
    def tool(self) -> str:
        return self.chosen.name

    def refusal(self, arguments: Mapping[str, Any]) -> str | None:
        fixed = sorted(self.chosen.own_arguments & arguments.keys())
        return f"{fixed[0]!r} is given by the gateway; leave it out" if fixed else None

    def prepare(
        self, definition: Definition, turns: Sequence[Turn], text: str, arguments: Mapping[str, Any]
    ) -> Prepared:
        tool = self.chosen
        sent = tool.arguments(conversation(definition.prompt, turns, text), definition.model, arguments)

        async def carry_out(told: Told) -> Answer:
            return Answer(await self.caller.call(tool, sent, told))

        return Prepared((tool.server, tool.service.endpoint, tool.name, definition.model, sent), carry_out)


def names_a_tool(settings: Settings, definition: Definition) -> bool:
    """Whether one tool answers for the agent: its definition says so, or the operator for all agents."""
    return definition.server is not None or definition.tool is not None or settings.agent_server is not None


def choose_tool(plan: Plan, settings: Settings, definition: Definition) -> Tool | None:
    """The tool that answers for an agent that names one, with the gateway's own for what it leaves open; None without
    such a server.

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
