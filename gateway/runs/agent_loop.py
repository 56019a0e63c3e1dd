"""One run of an agent by a model: requests and tool calls in turn, until there is an answer.

Imported when the first run begins (`model_way`): pydantic-ai costs seconds and tens of MiB.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai import Agent, RunContext, ToolDefinition, UsageLimits
from pydantic_ai import exceptions as ai
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_ai.toolsets.external import TOOL_SCHEMA_VALIDATOR
from pydantic_ai.usage import RunUsage

from gateway.runs.record import Usage
from gateway.runs.sessions import Turn
from gateway.runs.toolbox import BadArguments, Toolbox, ToolFailed
from gateway.runs.way import AnswerError, Told

MAX_OUTPUT_CHARACTERS = 1_000_000
# Wrong arguments in a row that the model may correct, of each tool.
BAD_ARGUMENTS = 2
# In one run, whatever its turns: one response can ask for any number.
MAX_TOOL_CALLS = 200
# A stream of single letters would make an event each.
_TEXT_CHARACTERS = 200
_TEXT_SECONDS = 0.1


@dataclass(frozen=True)
class Bounds:
    """Of one run; `tokens` is 0 for no bound."""

    turns: int
    tokens: int


class _Tools(AbstractToolset[None]):
    """A run's toolbox as pydantic-ai wants it. It never calls by itself: each call is the model's."""

    def __init__(self, box: Toolbox) -> None:
        self._box = box
        self.misfit: str | None = None

    @property
    def id(self) -> str | None:
        return None

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:
        return {
            name: ToolsetTool(
                toolset=self,
                tool_def=ToolDefinition(
                    name=name, description=tool.description, parameters_json_schema=dict(tool.schema)
                ),
                max_retries=BAD_ARGUMENTS,
                args_validator=TOOL_SCHEMA_VALIDATOR,
            )
            for name, tool in self._box.tools.items()
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[None], tool: ToolsetTool[None]
    ) -> str:
        if self._box.calls >= MAX_TOOL_CALLS:
            raise AnswerError(f"the model has called tools {MAX_TOOL_CALLS} times without coming to an end")
        try:
            return await self._box.call(name, tool_args)
        except BadArguments as error:
            self.misfit = f"{name}: {error}"
            raise ai.ModelRetry(str(error)) from error
        except ToolFailed as error:
            raise ai.ToolFailed(str(error)) from error


async def answer(
    model: Model,
    *,
    name: str,
    instructions: str,
    turns: Sequence[Turn],
    text: str,
    box: Toolbox,
    bounds: Bounds,
    told: Told,
    is_traced: bool,
    is_priced: bool,
) -> str:
    """The agent's answer. Raises `AnswerError`, and what pydantic-ai and a provider's client raise (`problems`)."""
    tools = _Tools(box)
    agent = Agent(model, name=name, instructions=instructions or None, toolsets=[tools], retries={"output": 1})
    if is_traced:
        # Spans without inputs and outputs.
        agent.instrument = InstrumentationSettings(include_content=False, include_model_request_parameters=False)
    limits = UsageLimits(request_limit=bounds.turns, total_tokens_limit=bounds.tokens or None)
    usage = RunUsage()
    telling = _Telling(told)
    try:
        async with agent.iter(text, message_history=_history(turns), usage_limits=limits, usage=usage) as run:
            async for node in run:
                if not Agent.is_model_request_node(node):
                    continue
                async with node.stream(run.ctx) as events:
                    async for event in events:
                        match event:
                            case PartStartEvent(part=TextPart(content=more)):
                                telling.add(more)
                            case PartDeltaEvent(delta=TextPartDelta(content_delta=more)):
                                telling.add(more)
                telling.flush()
                await told.used(_used(usage, box, is_priced))
            assert run.result is not None
            return run.result.output[:MAX_OUTPUT_CHARACTERS]
    except ai.UsageLimitExceeded as error:
        if bounds.tokens and usage.total_tokens > bounds.tokens:
            raise AnswerError(
                f"the run has used {usage.total_tokens} tokens, of {bounds.tokens} (PROMPTCRAFT_RUN_TOKENS)"
            ) from error
        raise AnswerError(f"the model did not come to an end in {bounds.turns} turns (maxTurns)") from error
    except ai.UnexpectedModelBehavior as error:
        if tools.misfit is not None and "max retries" in str(error):
            raise AnswerError(f"the model calls tools with arguments that do not fit: {tools.misfit}") from error
        raise
    finally:
        await told.used(_used(usage, box, is_priced))


class _Telling:
    """Passes a text on in pieces of some size."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._held: list[str] = []
        self._size = 0
        self._total = 0
        self._at = time.monotonic()

    def add(self, more: str) -> None:
        self._held.append(more)
        self._size += len(more)
        self._total += len(more)
        if self._total > MAX_OUTPUT_CHARACTERS:
            raise AnswerError(f"the model's answer is longer than {MAX_OUTPUT_CHARACTERS} characters")
        if self._size >= _TEXT_CHARACTERS or time.monotonic() - self._at > _TEXT_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._size:
            self._told.text("".join(self._held))
        self._held, self._size, self._at = [], 0, time.monotonic()


def _history(turns: Sequence[Turn]) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for turn in turns:
        messages.append(ModelRequest(parts=[UserPromptPart(turn.input)]))
        messages.append(ModelResponse(parts=[TextPart(turn.output)]))
    return messages


def _used(usage: RunUsage, box: Toolbox, is_priced: bool) -> Usage:
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        requests=usage.requests,
        tool_calls=box.calls,
        price_usd=float(usage.cost) if is_priced and usage.cost is not None else None,
    )
