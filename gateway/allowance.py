"""Which tools of the plan's MCP servers an agent may use, told from its definition as Claude Code reads it.

Without `tools` and `mcpServers` Claude Code gives an agent every tool there is. Here it gets none: a definition that a
repository brings may describe, and every tool that is sent costs tokens in each request.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.agents import Definition

_PREFIX = "mcp__"
_ALL = "*"
# Claude Code's `Bash(git log:*)`: a rule about arguments, of a tool that does not exist here.
_RULE = re.compile(r"\(.*\)$")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_AFFIXES = re.compile(r"^mcp[-_]|[-_]mcp$")


@dataclass(frozen=True)
class _Entry:
    """One entry of a list: a server of the plan, None for all of them, and a pattern of its tools."""

    server: str | None
    tool: str

    def covers(self, server: str, tool: str) -> bool:
        return self.server in (None, server) and fnmatchcase(tool, self.tool)


@dataclass(frozen=True)
class Allowance:
    """What an agent may use. `missing` are the entries of its definition that nothing here stands for, `exact` those
    that name tools of a server."""

    servers: tuple[str, ...]
    allowed: tuple[_Entry, ...]
    refused: tuple[_Entry, ...]
    missing: tuple[str, ...]
    exact: tuple[tuple[str, _Entry], ...]

    def allows(self, server: str, tool: str) -> bool:
        return any(entry.covers(server, tool) for entry in self.allowed) and not any(
            entry.covers(server, tool) for entry in self.refused
        )

    def missing_tools(self, known: Mapping[str, Collection[str]]) -> list[str]:
        """`missing`, and what names a tool that its server is known not to have; `known` are tools by server."""
        gone = [
            name
            for name, entry in self.exact
            if entry.server is not None
            and entry.server in known
            and not any(entry.covers(entry.server, tool) for tool in known[entry.server])
        ]
        return [*self.missing, *gone]

    @property
    def makes(self) -> list[list[str]]:
        """What of it makes an answer, as JSON."""
        return [[entry.server or _ALL, entry.tool] for entry in self.allowed] + [
            ["-", entry.server or _ALL, entry.tool] for entry in self.refused
        ]


def allowance(definition: Definition, servers: Iterable[str]) -> Allowance:
    """What `definition` allows of the plan's MCP `servers`."""
    names = tuple(servers)
    allowed: list[_Entry] = []
    exact: list[tuple[str, _Entry]] = []
    missing: list[str] = []
    given = (
        definition.tools if definition.tools is not None else tuple(f"{_PREFIX}{one}" for one in definition.mcp_servers)
    )
    # A server that is named beside a list of tools gives nothing by itself, and is missed all the same.
    missing += [f"{_PREFIX}{one}" for one in definition.mcp_servers if _server(one, names) is None]
    for text in given:
        entry = _entry(text, names)
        if entry is None:
            missing.append(text)
            continue
        allowed.append(entry)
        if entry.server is not None and entry.tool != _ALL:
            exact.append((text, entry))
    refused = [entry for text in definition.disallowed_tools if (entry := _entry(text, names)) is not None]
    wanted = {name for entry in allowed for name in names if entry.server in (None, name)}
    shut = {entry.server for entry in refused if entry.tool == _ALL}
    open_ = () if None in shut else tuple(name for name in names if name in wanted - shut)
    return Allowance(open_, tuple(allowed), tuple(refused), tuple(dict.fromkeys(missing)), tuple(exact))


def tool_name(server: str, tool: str) -> str:
    """The tool's name as a definition and a model write it."""
    return f"{_PREFIX}{_NOT_IN_NAMES.sub('_', server)}__{_NOT_IN_NAMES.sub('_', tool)}"


def _entry(text: str, servers: tuple[str, ...]) -> _Entry | None:
    if text == _ALL:
        return _Entry(None, _ALL)
    if not text.startswith(_PREFIX):
        return None
    # mcp__context7, mcp__context7__*, mcp__context7__get-library-docs
    name, _, tool = _RULE.sub("", text).removeprefix(_PREFIX).partition("__")
    if name == _ALL:
        return _Entry(None, tool or _ALL)
    server = _server(name, servers)
    return None if server is None else _Entry(server, tool or _ALL)


def _server(name: str, servers: tuple[str, ...]) -> str | None:
    """The plan's server of that name: exactly, as a tool's name has it, or but for an `mcp` at its ends."""
    for alike in (
        str,
        lambda one: _NOT_IN_NAMES.sub("_", one),
        lambda one: _AFFIXES.sub("", one.lower()).replace("_", "-"),
    ):
        found = [server for server in servers if alike(server) == alike(name)]
        if len(found) == 1:
            return found[0]
    return None
