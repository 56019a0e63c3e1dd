"""The tools that one run of an agent has: those of the plan's MCP servers that its definition allows.

A call that was sent is never sent again, by nobody: where its outcome is unknown the run ends, since a model that is
told so would try once more.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    CallToolResult,
    EmbeddedResource,
    TextContent,
    TextResourceContents,
)

from gateway.allowance import Allowance, tool_name
from gateway.kept import Kept
from gateway.mcp_client import MCP_ERRORS, connected
from gateway.metrics import Metrics
from gateway.outbound import error_line
from gateway.pins.guard import ToolGuard, listed
from gateway.plan import PlannedService
from gateway.runs.record import Step
from gateway.runs.way import AnswerError, Told

# So long what a server listed is believed.
LISTED_SECONDS = 60.0
MAX_LISTED = 500
# What OpenAI's API takes; the other providers take more.
MAX_TOOLS = 128
_NAME_LENGTH = 64
# So many tools of one server are named to the caller where they are withheld.
_MAX_WITHHELD = 5
MAX_RESULT_CHARACTERS = 100_000
MAX_PROBLEM_CHARACTERS = 500
# JSON-RPC's words for a request that was turned down. Any other error may come from the middle of a call.
_NOT_BEGUN = frozenset({PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS})


class BadArguments(Exception):
    """The arguments do not fit the tool's schema; nothing was sent. The text is for the model."""


class ToolFailed(Exception):
    """The tool was called and said that it failed. The text is for the model."""


@dataclass(frozen=True)
class BoxedTool:
    """A tool as a model is told of it; `name` is what the model calls it."""

    name: str
    server: str
    tool: str
    description: str
    schema: Mapping[str, Any]


@dataclass
class _Listed:
    at: float
    tools: list[tuple[str, str, dict[str, Any]]]


@dataclass
class Catalogue:
    """What the servers of the plan listed last, by server, without what `guard` withholds."""

    guard: ToolGuard
    listed: dict[str, _Listed] = field(default_factory=dict)

    def names(self) -> dict[str, frozenset[str]]:
        return {server: frozenset(name for name, _, _ in one.tools) for server, one in self.listed.items()}

    def fresh(self, server: str) -> list[tuple[str, str, dict[str, Any]]] | None:
        one = self.listed.get(server)
        return one.tools if one is not None and time.monotonic() - one.at < LISTED_SECONDS else None

    def put(self, server: str, tools: list[tuple[str, str, dict[str, Any]]]) -> None:
        self.listed[server] = _Listed(time.monotonic(), tools)


class Toolbox:
    """Made by `toolbox`. `missing` says which servers did not list their tools, in one line; None when all did."""

    def __init__(
        self, servers: Mapping[str, PlannedService], allowed: Allowance, seconds: float, told: Told, metrics: Metrics
    ) -> None:
        self._sessions = {name: Kept(name, partial(connected, servers[name], seconds)) for name in allowed.servers}
        self._allowed = allowed
        self._told = told
        self._metrics = metrics
        self.calls = 0
        self.tools: dict[str, BoxedTool] = {}
        self.missing: str | None = None

    async def fill(self, catalogue: Catalogue) -> None:
        """Asks the servers, all at once, what they have."""
        names = list(self._sessions)
        found = await asyncio.gather(*(self._listed(name, catalogue) for name in names))
        problems = [one for one in found if isinstance(one, str)]
        for server, tools in zip(names, found, strict=True):
            for tool, description, schema in tools if not isinstance(tools, str) else ():
                if self._allowed.allows(server, tool):
                    name = _unique(tool_name(server, tool), self.tools)
                    self.tools[name] = BoxedTool(name, server, tool, description, schema)
            judged = catalogue.guard.last(server)
            problems += [
                refusal
                for one in (judged.withheld if judged is not None else ())
                if judged is not None
                and self._allowed.allows(server, one.tool)
                and (refusal := judged.refusal(one.tool)) is not None
            ][:_MAX_WITHHELD]
        if len(self.tools) > MAX_TOOLS:
            problems.append(f"{len(self.tools)} tools are allowed, and the first {MAX_TOOLS} were given")
            self.tools = dict(list(self.tools.items())[:MAX_TOOLS])
        self.missing = "; ".join(problems) or None

    async def _listed(self, server: str, catalogue: Catalogue) -> list[tuple[str, str, dict[str, Any]]] | str:
        if (known := catalogue.fresh(server)) is not None:
            return known
        try:
            client = await self._sessions[server].client()
            found, is_whole = await listed(client)
        except AnswerError as error:
            return f"without the tools of {error}"
        except MCP_ERRORS as error:
            return f"without the tools of {server}: {error_line(error)}"
        judged = await catalogue.guard.judge(server, client.server_info, found, is_whole=is_whole)
        served = judged.served(found)[:MAX_LISTED]
        tools = [(tool.name, tool.description or "", tool.input_schema) for tool in served]
        catalogue.put(server, tools)
        return tools

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """What the tool says. Raises `BadArguments`, `ToolFailed`, and `AnswerError` where the run has to end."""
        boxed = self.tools[name]
        step = Step(server=boxed.server, tool=boxed.tool)
        started = time.perf_counter()

        def ended(outcome: str) -> None:
            seconds = time.perf_counter() - started
            self._told.step(step.model_copy(update={"outcome": outcome, "duration_ms": round(seconds * 1000, 1)}))
            if outcome != "invalid":
                self._metrics.mcp_request(boxed.server, boxed.tool, outcome, seconds)

        self._told.step(step)
        if (misfit := unfit(arguments, boxed.schema)) is not None:
            ended("invalid")
            raise BadArguments(f"{misfit}; nothing was called")
        outcome = "unknown"
        try:
            self.calls += 1
            result = await self._sessions[boxed.server].ask(
                lambda client: client.call_tool(boxed.tool, arguments, progress_callback=self._told.progress)
            )
            outcome = "error" if result.is_error else "ok"
        except AnswerError as error:
            # Nothing was sent.
            self.calls -= 1
            outcome = "error"
            raise ToolFailed(f"the server can't be reached: {error}") from error
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except (*MCP_ERRORS, BaseExceptionGroup) as error:
            if isinstance(error, MCPError) and error.error.code in _NOT_BEGUN:
                outcome = "error"
                raise ToolFailed(error_line(error)) from error
            raise AnswerError(
                f"{boxed.server}: {boxed.tool} may have acted, and its outcome is unknown: {error_line(error)}"
            ) from error
        finally:
            ended(outcome)
        text = result_text(result)
        if result.is_error:
            raise ToolFailed(text[:MAX_PROBLEM_CHARACTERS] or "the tool reported an error without a text")
        return text

    async def close(self) -> None:
        await asyncio.gather(*(session.close() for session in self._sessions.values()))


@asynccontextmanager
async def toolbox(
    servers: Mapping[str, PlannedService],
    allowed: Allowance,
    seconds: float,
    told: Told,
    metrics: Metrics,
    catalogue: Catalogue,
) -> AsyncIterator[Toolbox]:
    """The tools of one run, asked for and, at the end, let go; an answer of a server may take `seconds`."""
    made = Toolbox(servers, allowed, seconds, told, metrics)
    try:
        await made.fill(catalogue)
        yield made
    finally:
        await made.close()


def result_text(result: CallToolResult) -> str:
    """A tool's answer as a text for a model, cut where it is too long."""
    parts = []
    for part in result.content:
        if isinstance(part, TextContent):
            parts.append(part.text)
        elif isinstance(part, EmbeddedResource) and isinstance(part.resource, TextResourceContents):
            parts.append(part.resource.text)
        else:
            parts.append(f"[{part.type}: not shown, for only text is passed on]")
    text = "\n".join(parts)
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    cut = len(text) - MAX_RESULT_CHARACTERS
    return text if cut <= 0 else f"{text[:MAX_RESULT_CHARACTERS]}\n[{cut} more characters were cut off]"


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def unfit(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """Why arguments do not fit a tool's schema, in one line; None where they may.

    It sees what is missing, and a wrong type or choice at the top; the server itself judges the rest. A whole validator
    would run a stranger's regular expressions here, and fetch what its schema refers to.
    """
    properties, required = schema.get("properties"), schema.get("required")
    missing = [str(name) for name in required if name not in arguments] if isinstance(required, list) else []
    if missing:
        return f"missing arguments: {', '.join(missing)}"
    if not isinstance(properties, dict):
        return None
    if schema.get("additionalProperties") is False and (unknown := sorted(arguments.keys() - properties.keys())):
        return f"unknown arguments: {', '.join(unknown)}; there are: {', '.join(properties)}"
    for name, value in arguments.items():
        wanted = properties.get(name)
        if not isinstance(wanted, dict):
            continue
        types = wanted.get("type")
        names = [types] if isinstance(types, str) else types if isinstance(types, list) else []
        if names and all(one in _TYPES for one in names) and not any(_is(value, one) for one in names):
            return f"{name} has to be {' or '.join(names)}"
        choices = wanted.get("enum")
        if isinstance(choices, list) and value not in choices:
            return f"{name} has to be one of {json.dumps(choices)[:200]}"
    return None


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    # Providers take 64 letters; two tools may be alike in them, or in what stands for letters that names can't have.
    if len(name) <= _NAME_LENGTH and name not in taken:
        return name
    mark = hashlib.sha256(f"{name}{len(taken)}".encode()).hexdigest()[:8]
    return f"{name[: _NAME_LENGTH - 9]}_{mark}"
