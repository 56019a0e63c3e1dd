"""The MCP servers of the plan as they are now: who each is and which tools it has."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

import mcp_types
from pydantic import BaseModel

from gateway.mcp_client import MCP_ERRORS, connected
from gateway.outbound import error_line
from gateway.pins.guard import Judged, ToolGuard, listed
from gateway.plan import Plan, PlannedService
from gateway.rights import Rights

# Callers within this many seconds share one look.
FRESH_SECONDS = 5.0
MAX_TOOLS = 500
DESCRIPTION_CHARACTERS = 500


class ServerTool(BaseModel):
    """`arguments` are the names that the tool's schema has, `required` those it wants."""

    name: str
    description: str
    arguments: list[str]
    required: list[str]


class McpServer(BaseModel):
    """One server. `reason` is the plan's (for one left out, what to set), `problem` why it does not answer now,
    or that some of its tools are not served."""

    name: str
    status: Literal["ok", "down", "omitted"]
    source: str | None
    endpoint: str | None
    reason: str
    problem: str | None = None
    server_name: str | None = None
    version: str | None = None
    latency_ms: float | None = None
    tools: list[ServerTool] = []


class McpServers(BaseModel):
    servers: list[McpServer]

    def seen_by(self, rights: Rights) -> McpServers:
        """The servers, and of each the tools, that somebody with such rights may see."""
        return McpServers(
            servers=[
                one.model_copy(update={"tools": [tool for tool in one.tools if rights.allows(one.name, tool.name)]})
                for one in self.servers
                if rights.allows_some_of(one.name)
            ]
        )


class ServerBoard:
    """Asks every MCP server of the plan, all at once and each within `seconds`."""

    def __init__(self, plan: Plan, seconds: float, guard: ToolGuard) -> None:
        self._services = {name: one for name, one in sorted(plan.services.items()) if one.protocol == "mcp"}
        self._seconds = seconds
        self._guard = guard
        self._judged: dict[str, Judged] = {}
        self._lock = asyncio.Lock()
        self._last: McpServers | None = None
        self._last_at = 0.0

    async def look(self) -> McpServers:
        async with self._lock:
            if self._last is None or time.monotonic() - self._last_at > FRESH_SECONDS:
                found = await asyncio.gather(*(self._ask(name, one) for name, one in self._services.items()))
                self._last, self._last_at = McpServers(servers=list(found)), time.monotonic()
            return self._last

    def tool_names(self) -> dict[str, frozenset[str]]:
        """The tools of each server that answered the last look."""
        servers = self._last.servers if self._last is not None else []
        return {one.name: frozenset(tool.name for tool in one.tools) for one in servers if one.status == "ok"}

    def judged(self) -> dict[str, Judged]:
        """What is to be thought of the tools of each server that answered the last look."""
        return dict(self._judged)

    async def _ask(self, name: str, service: PlannedService) -> McpServer:
        planned = McpServer(
            name=name, status="omitted", source=service.source, endpoint=service.endpoint, reason=service.reason
        )
        if not service.is_used:
            return planned
        found: dict[str, object] = {"status": "ok"}
        server: mcp_types.Implementation | None = None
        tools: list[mcp_types.Tool] = []
        is_whole = False
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._seconds), connected(service, self._seconds) as client:
                server = client.server_info
                tools, is_whole = await listed(client)
        except* MCP_ERRORS as group:
            problem = error_line(group)
            found = {"status": "down", "problem": problem}
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        self._judged.pop(name, None)
        if found["status"] == "ok":
            judged = self._judged[name] = await self._guard.judge(name, server, tools, is_whole=is_whole)
            served = judged.served(tools)
            found |= {
                "server_name": server.name if server else None,
                "version": (server.version or None) if server else None,
                "tools": [_tool(tool.name, tool.description, tool.input_schema) for tool in served[:MAX_TOOLS]],
                "problem": judged.note,
            }
        return planned.model_copy(update={**found, "latency_ms": milliseconds})


def _tool(name: str, description: str | None, schema: dict[str, object]) -> ServerTool:
    properties, required = schema.get("properties"), schema.get("required")
    return ServerTool(
        name=name,
        description=" ".join((description or "").split())[:DESCRIPTION_CHARACTERS],
        arguments=sorted(properties) if isinstance(properties, dict) else [],
        required=sorted(str(one) for one in required) if isinstance(required, list) else [],
    )
