"""The agents of the plan, as the deployment read their files: one JSON document each, mounted read-only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from gateway.models.names import DEFAULT, said
from gateway.plan import Plan, PlannedAgent

MAX_DEFINITION_BYTES = 2 * 1024 * 1024


def _said(value: object) -> object:
    return said(value) if value is None or isinstance(value, str) else value


class Definition(BaseModel):
    """What an agent is told before it is asked. `name` is for people.

    `tools` is None where the agent's file says nothing of them. `not_applied` names keys of its front matter that mean
    something to Claude Code only.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    description: str
    prompt: str
    model: Annotated[str, BeforeValidator(_said)] = DEFAULT
    tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    max_turns: int | None = None
    server: str | None = None
    tool: str | None = None
    prompt_argument: str | None = None
    not_applied: tuple[str, ...] = ()


class DefinitionError(Exception):
    """The definition can't be used; the text is one line that says why."""


def read_definition(agent: PlannedAgent) -> Definition:
    """The agent's definition as it is mounted now. Raises `DefinitionError`."""
    if agent.problem is not None:
        raise DefinitionError(agent.problem)
    if agent.file is None:
        raise DefinitionError(f"{agent.label} was not deployed")
    try:
        seen = agent.file.stat()
        return _read(agent.label, agent.file, agent.model, seen.st_mtime_ns, seen.st_size, seen.st_ino)
    except OSError as error:
        raise DefinitionError(f"{agent.label}: {error.strerror}") from error


@lru_cache(maxsize=2048)
def _read(label: str, file: Path, given_model: str | None, *version: int) -> Definition:
    # `version` is the file's time, size and number: a changed file is read again, an unchanged one is not.
    with file.open("rb") as opened:
        content = opened.read(MAX_DEFINITION_BYTES + 1)
    if len(content) > MAX_DEFINITION_BYTES:
        raise DefinitionError(f"{label}: larger than {MAX_DEFINITION_BYTES} bytes; deploy again")
    try:
        definition = Definition.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise DefinitionError(f"{label}: {where}: {first['msg']}; deploy again") from error
    return definition.model_copy(update={"model": said(given_model)}) if given_model else definition


@dataclass(frozen=True)
class Outlook:
    """What an agent's run would be answered by (`provider:model`, None for a tool), which of its tools it would lack,
    and why there would be no run; None where there would."""

    answered_by: str | None
    missing_tools: list[str]
    problem: str | None


def describe(plan: Plan, outlook: Callable[[str, Definition], Outlook]) -> list[dict[str, Any]]:
    """Every agent of the plan as the API shows it, in order of name."""
    return [_describe(plan, name, agent, outlook) for name, agent in sorted(plan.agents.items())]


def runnable(plan: Plan, agent: PlannedAgent) -> Definition:
    """The definition of an agent that can run now. Raises `DefinitionError` with the reason why it can't."""
    definition = read_definition(agent)
    unmet = sorted(name for name, endpoint in agent.dependencies.items() if endpoint is None)
    if definition.server is not None and definition.server not in plan.used("mcp"):
        unmet.append(f"the MCP server {definition.server}")
    if unmet:
        raise DefinitionError(f"needs {', '.join(unmet)}, which this stack does not have")
    return definition


def _describe(
    plan: Plan, name: str, agent: PlannedAgent, outlook: Callable[[str, Definition], Outlook]
) -> dict[str, Any]:
    reason: str | None = None
    definition: Definition | None = None
    seen = Outlook(None, [], None)
    try:
        definition = read_definition(agent)
        seen = outlook(name, definition)
        runnable(plan, agent)
    except DefinitionError as error:
        reason = str(error)
    reason = reason or seen.problem
    return {
        "id": name,
        "name": definition.name if definition else name,
        "tier": agent.tier,
        "path": agent.path,
        "model": definition.model if definition else agent.model,
        "description": definition.description if definition else "",
        "answered_by": seen.answered_by,
        "tools": list(definition.tools or ()) if definition else [],
        "missing_tools": seen.missing_tools,
        "not_applied": list(definition.not_applied) if definition else [],
        "server": definition.server if definition else None,
        "tool": definition.tool if definition else None,
        "available": reason is None,
        "reason": reason,
        "dependencies": {
            service: {"endpoint": endpoint, "met": endpoint is not None}
            for service, endpoint in sorted(agent.dependencies.items())
        },
        "shadowed": [shadowed.model_dump() for shadowed in agent.shadowed],
    }
