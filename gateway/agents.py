"""The agents of the plan, read from their mounted files: Markdown with front matter, or YAML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.models.names import said
from gateway.plan import Plan, PlannedAgent

MAX_DEFINITION_BYTES = 256 * 1024


def _names(value: object) -> object:
    # "Read, Grep" or ["Read", "Grep"]
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _server_names(value: object) -> object:
    # context7, or ["context7", {"own": {"command": …}}], or {"own": {"command": …}}: the gateway starts none, so that
    # a server described in the definition counts by its name.
    if isinstance(value, dict):
        return tuple(value)
    if isinstance(value, list):
        return tuple(name for one in value for name in (one if isinstance(one, dict) else (one,)))
    return _names(value)


class FrontMatter(BaseModel):
    """The keys that matter here; a definition may have more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str | None = None
    description: str = ""
    model: str | None = None
    # As Claude Code reads them; without `tools` an agent may use all that its servers have.
    tools: Annotated[tuple[str, ...], BeforeValidator(_names)] | None = None
    disallowed_tools: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field((), alias="disallowedTools")
    mcp_servers: Annotated[tuple[str, ...], BeforeValidator(_server_names)] = Field((), alias="mcpServers")
    max_turns: int | None = Field(None, ge=1, alias="maxTurns")
    prompt: str = ""
    # Which MCP tool answers for the agent, and the argument that takes its words; none, and the gateway's own choice.
    server: str | None = None
    tool: str | None = None
    prompt_argument: str | None = None


@dataclass(frozen=True)
class Definition:
    """What an agent is told before it is asked."""

    description: str
    model: str
    tools: tuple[str, ...] | None
    prompt: str
    server: str | None = None
    tool: str | None = None
    prompt_argument: str | None = None
    disallowed_tools: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    max_turns: int | None = None


class DefinitionError(Exception):
    """The definition can't be used; the text is one line that says why."""


def read_definition(agent: PlannedAgent) -> Definition:
    """The agent's definition as its file says it now. Raises `DefinitionError`."""
    if agent.problem is not None:
        raise DefinitionError(agent.problem)
    if agent.file is None:
        raise DefinitionError(f"{agent.label} was not deployed")
    try:
        seen = agent.file.stat()
        return _read(agent.label, agent.file, agent.model, seen.st_mtime_ns, seen.st_size, seen.st_ino)
    except OSError as error:
        raise DefinitionError(f"{agent.label}: {error.strerror}") from error


@lru_cache(maxsize=256)
def _read(label: str, file: Path, given_model: str | None, *version: int) -> Definition:
    # `version` is the file's time, size and number: a changed file is read again, an unchanged one is not.
    with file.open("rb") as opened:
        content = opened.read(MAX_DEFINITION_BYTES + 1)
    if len(content) > MAX_DEFINITION_BYTES:
        raise DefinitionError(f"{label}: larger than {MAX_DEFINITION_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{label}: not UTF-8") from error
    matter, body = _parse(text, label, is_yaml=file.suffix in (".yaml", ".yml"))
    # The program resolved the model already (an agent may say `inherit`).
    model = given_model or matter.model
    return Definition(
        description=matter.description,
        model=said(model),
        tools=matter.tools,
        prompt=matter.prompt or body,
        server=matter.server,
        tool=matter.tool,
        prompt_argument=matter.prompt_argument,
        disallowed_tools=matter.disallowed_tools,
        mcp_servers=matter.mcp_servers,
        max_turns=matter.max_turns,
    )


def _parse(text: str, path: str, *, is_yaml: bool) -> tuple[FrontMatter, str]:
    head, body = (text, "") if is_yaml else _split(text)
    try:
        document: Any = yaml.safe_load(head) or {}
        return FrontMatter.model_validate(document), body.strip()
    except RecursionError as error:
        raise DefinitionError(f"{path}: nested too deeply") from error
    except yaml.YAMLError as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        # Lines count from 1, and front matter begins on the second.
        line = f":{mark.line + (1 if is_yaml else 2)}" if mark else ""
        raise DefinitionError(f"{path}{line}: not valid YAML") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DefinitionError(f"{path}: {'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}") from error


def _split(text: str) -> tuple[str, str]:
    # ---\nname: ai-engineer\n---\nYou are …
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.strip() == "---":
            return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :])
    return "", text


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
        "tier": agent.tier,
        "path": agent.path,
        "model": definition.model if definition else agent.model,
        "description": definition.description if definition else "",
        "answered_by": seen.answered_by,
        "tools": list(definition.tools or ()) if definition else [],
        "missing_tools": seen.missing_tools,
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
