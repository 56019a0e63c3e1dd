"""A server's tools as a pin keeps them: whatever of a tool a model or a person reads, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import mcp_types
from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION = 1
# Characters of one tool as JSON. Nobody reads as much, so it is not compared text by text.
MAX_TOOL_CHARACTERS = 200_000
# How deep a schema may be before it is not looked into any more.
MAX_DEPTH = 60


class PinError(Exception):
    """A pin can't be read; the text says which file, what is wrong and what to do."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Introduced(_Model):
    """Who a server says it is (`serverInfo`)."""

    name: str
    version: str | None = None


class PinnedTool(_Model):
    """One tool. `digest` stands for all the others where the texts were too long to be remembered."""

    name: str
    title: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] = Field(default_factory=dict)
    output_schema: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None
    digest: str | None = None

    def text(self) -> str:
        """All of it as JSON, always in the same order."""
        return canonical(self.model_dump(exclude={"digest"}))

    def fingerprint(self) -> str:
        """SHA-256 in hex of all of it."""
        return self.digest or hashlib.sha256(self.text().encode("utf-8", "surrogatepass")).hexdigest()

    def shortened(self) -> PinnedTool:
        """The same tool by its fingerprint alone: enough to see that it has changed, not how."""
        return PinnedTool(name=self.name, digest=self.fingerprint())


class ToolSet(_Model):
    """All tools of a server, by name."""

    schema_version: Literal[1] = 1
    server: Introduced | None = None
    tools: tuple[PinnedTool, ...] = ()

    def by_name(self) -> dict[str, PinnedTool]:
        return {tool.name: tool for tool in self.tools}

    def shortened(self) -> ToolSet:
        return self.model_copy(update={"tools": tuple(tool.shortened() for tool in self.tools)})


def canonical(value: object) -> str:
    """JSON without white space, sorted by key; equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def tool_set(server: mcp_types.Implementation | None, tools: Iterable[mcp_types.Tool]) -> ToolSet:
    """What a server lists now. Of two tools with one name the first counts, as it does for those who call."""
    by_name: dict[str, PinnedTool] = {}
    for tool in tools:
        by_name.setdefault(tool.name, pinned(tool))
    introduced = Introduced(name=server.name, version=server.version or None) if server else None
    return ToolSet(server=introduced, tools=tuple(by_name[name] for name in sorted(by_name)))


def pinned(tool: mcp_types.Tool) -> PinnedTool:
    """The tool as a pin keeps it."""
    hints = tool.annotations.model_dump(mode="json", by_alias=True, exclude_none=True) if tool.annotations else None
    return PinnedTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=hints or None,
    )


def read_pin(path: Path) -> ToolSet:
    """The pin in `path`, as the program has mounted it. Raises `PinError`."""
    try:
        return ToolSet.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PinError(f"{path}: {error.strerror}; deploy again") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise PinError(f"{path}: {where}: {first['msg']}; deploy again with the program of this version") from error


def texts_of(tool: PinnedTool) -> Iterator[tuple[str, str]]:
    """Every text of a tool that a model may read, with where it stands: descriptions, titles, defaults, choices, the
    names of parameters, references, and whatever else a schema says."""
    yield "name", tool.name
    if tool.title:
        yield "title", tool.title
    if tool.description:
        yield "description", tool.description
    yield from _within("annotations", tool.annotations, 0)
    yield from _within("input", tool.input_schema, 0)
    yield from _within("output", tool.output_schema, 0)


def is_too_long(tool: PinnedTool) -> bool:
    """Whether a tool is larger, or deeper, than what is read text by text."""
    return len(tool.text()) > MAX_TOOL_CHARACTERS or _is_deep(tool.input_schema, 0) or _is_deep(tool.output_schema, 0)


def _within(where: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{where}.{key}", str(key)
            yield from _within(f"{where}.{key}", inner, depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _within(f"{where}[{number}]", inner, depth + 1)


def _is_deep(value: Any, depth: int) -> bool:
    if depth > MAX_DEPTH:
        return True
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(_is_deep(one, depth + 1) for one in inner)
