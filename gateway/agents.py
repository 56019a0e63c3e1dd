"""The agents of the plan, read from their mounted files: Markdown with front matter, or YAML."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from gateway.plan import Plan, PlannedAgent

MAX_DEFINITION_BYTES = 256 * 1024
DEFAULT_MODEL = "sonnet"


def _names(value: object) -> object:
    # "Read, Grep" or ["Read", "Grep"]
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class FrontMatter(BaseModel):
    """The keys that matter here; a definition may have more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str | None = None
    description: str = ""
    model: str | None = None
    tools: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
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
    tools: tuple[str, ...]
    prompt: str
    server: str | None = None
    tool: str | None = None
    prompt_argument: str | None = None


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
        model=DEFAULT_MODEL if model in (None, "inherit") else model,
        tools=matter.tools,
        prompt=matter.prompt or body,
        server=matter.server,
        tool=matter.tool,
        prompt_argument=matter.prompt_argument,
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


def describe(plan: Plan) -> list[dict[str, Any]]:
    """Every agent of the plan as the API shows it, in order of name."""
    return [_describe(plan, name, agent) for name, agent in sorted(plan.agents.items())]


def runnable(plan: Plan, agent: PlannedAgent) -> Definition:
    """The definition of an agent that can run now. Raises `DefinitionError` with the reason why it can't."""
    definition = read_definition(agent)
    unmet = sorted(name for name, endpoint in agent.dependencies.items() if endpoint is None)
    if definition.server is not None and definition.server not in plan.used("mcp"):
        unmet.append(f"the MCP server {definition.server}")
    if unmet:
        raise DefinitionError(f"needs {', '.join(unmet)}, which this stack does not have")
    return definition


def _describe(plan: Plan, name: str, agent: PlannedAgent) -> dict[str, Any]:
    reason: str | None = None
    definition: Definition | None = None
    try:
        definition = read_definition(agent)
        runnable(plan, agent)
    except DefinitionError as error:
        reason = str(error)
    return {
        "id": name,
        "tier": agent.tier,
        "path": agent.path,
        "model": definition.model if definition else agent.model,
        "description": definition.description if definition else "",
        "tools": list(definition.tools) if definition else [],
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
