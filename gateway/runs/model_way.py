"""A model that answers for an agent, with the tools that the agent's definition allows."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from gateway.agents import Definition
from gateway.allowance import allowance
from gateway.metrics import Metrics
from gateway.models.names import LOCAL, ModelId
from gateway.models.providers import ProviderError, Providers
from gateway.models.wire import Patience, patience
from gateway.outbound import error_line
from gateway.pins.guard import ToolGuard
from gateway.plan import Plan
from gateway.runs.sessions import Turn
from gateway.runs.toolbox import Catalogue, toolbox
from gateway.runs.way import Answer, AnswerError, Prepared, Told
from gateway.settings import Settings

log = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 300


class ModelRunner:
    """Makes the runs that models answer. One a process: it keeps connections and what servers listed."""

    def __init__(
        self, plan: Plan, settings: Settings, metrics: Metrics, providers: Providers, guard: ToolGuard
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.metrics = metrics
        self.providers = providers
        self.catalogue = Catalogue(guard)

    async def run(
        self, agent: str, model: ModelId, definition: Definition, turns: Sequence[Turn], text: str, told: Told
    ) -> Answer:
        """Raises `AnswerError`."""
        seconds = self.settings.run_seconds
        token = patience.set(Patience(time.monotonic() + seconds))
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._answer(agent, model, definition, turns, text, told)
        except TimeoutError as error:
            if limit.expired():
                raise AnswerError(f"{model} did not come to an end within {seconds:g} s") from error
            raise AnswerError(f"{model}: {error_line(error)}") from error
        finally:
            patience.reset(token)

    async def _answer(
        self, agent: str, model: ModelId, definition: Definition, turns: Sequence[Turn], text: str, told: Told
    ) -> Answer:
        # Beside the requests of others: the first import takes a while.
        loop, problems = await asyncio.to_thread(_libraries)
        servers = self.plan.used("mcp")
        most = self.settings.run_turns
        try:
            asked = await self.providers.model(model)
        except ProviderError as error:
            raise AnswerError(str(error)) from error
        told.attempted()
        seconds = self.settings.run_seconds
        async with toolbox(servers, allowance(definition, servers), seconds, told, self.metrics, self.catalogue) as box:
            try:
                output = await loop.answer(
                    asked,
                    name=agent,
                    instructions=definition.prompt,
                    turns=turns,
                    text=text,
                    box=box,
                    bounds=loop.Bounds(min(definition.max_turns or most, most), self.settings.run_tokens),
                    told=told,
                    is_traced=self.settings.traces_endpoint is not None,
                    is_priced=model.provider != LOCAL,
                )
            except AnswerError:
                raise
            except TimeoutError:
                # The run's own, which `run` names.
                raise
            except Exception as error:
                # A server that answers nonsense can make its client raise anything.
                if problems.is_refused_key(error):
                    raise AnswerError(self.providers.refused(model.provider)) from error
                log.debug("the model gave no answer: %s", type(error).__name__, extra={"model": str(model)})
                said = f"{model}: {problems.sentence(error)}"
                raise AnswerError(self._without_key(said, model)) from error
        self.providers.accepted(model.provider)
        return Answer(output, box.missing)

    def _without_key(self, text: str, model: ModelId) -> str:
        # A server may say back what it was sent.
        try:
            key = self.providers.key(model.provider)
        except ProviderError:
            key = None
        shown = text[:_SHOWN_CHARACTERS] if key is None else text.replace(key, "…")[:_SHOWN_CHARACTERS]
        return _KEY_LIKE.sub("…", shown)


def _libraries() -> tuple[Any, Any]:
    return import_module("gateway.runs.agent_loop"), import_module("gateway.models.problems")


# sk-ant-api03-…, AIza…, xai-…: what begins like a provider's key, also another one than ours.
_KEY_LIKE = re.compile(r"\b(?:sk-|xai-|AIza)[A-Za-z0-9_*-]{8,}")


@dataclass(frozen=True)
class ModelWay:
    """A model with tools that answers for an agent, as a `Way`."""

    agent: str
    model: ModelId
    runner: ModelRunner
    server: None = None
    tool: None = None

    @property
    def answered_by(self) -> str:
        return str(self.model)

    def refusal(self, arguments: Mapping[str, Any]) -> str | None:
        return "this agent is answered by a model, which takes none; leave them out" if arguments else None

    def prepare(
        self, definition: Definition, turns: Sequence[Turn], text: str, arguments: Mapping[str, Any]
    ) -> Prepared:
        plan = self.runner.plan
        servers = plan.used("mcp")
        allowed = allowance(definition, servers)
        local = plan.models.local
        makes = (
            str(self.model),
            local.endpoint if local is not None and self.model.provider == LOCAL else None,
            definition.prompt,
            [[turn.input, turn.output] for turn in turns],
            text,
            [[name, servers[name].endpoint] for name in allowed.servers],
            allowed.makes,
            definition.max_turns,
        )

        async def carry_out(told: Told) -> Answer:
            return await self.runner.run(self.agent, self.model, definition, turns, text, told)

        return Prepared(makes, carry_out)
