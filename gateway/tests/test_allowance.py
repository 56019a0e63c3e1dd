"""Which tools a definition allows, in Claude Code's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.agents import read_definition
from gateway.allowance import Allowance, allowance, tool_name
from gateway.plan import PlannedAgent
from gateway.runs.toolbox import unfit
from gateway.tests.conftest import as_json

TOOLS = {"context7": ("resolve", "get-docs"), "zen-mcp": ("chat", "debug"), "my.server": ("x",)}


def allowed_by(folder: Path, front: str) -> Allowance:
    file = folder / "a.json"
    file.write_text(as_json(f"---\nname: a\n{front}\n---\nx\n"))
    return allowance(read_definition(PlannedAgent(file=file, path="a.md")), TOOLS)


@pytest.mark.parametrize(
    ("front", "tools", "missing"),
    [
        ("", "", []),
        ("tools: Read, Bash(git log:*)", "", ["Read", "Bash(git log:*)"]),
        ("tools: mcp__context7__get-docs", "context7.get-docs", []),
        ("tools: mcp__context7", "context7.resolve context7.get-docs", []),
        ("tools: mcp__context7__*", "context7.resolve context7.get-docs", []),
        ("tools: [mcp__context7__get-*, Read]", "context7.get-docs", ["Read"]),
        ("tools: mcp__zen__chat", "zen-mcp.chat", []),
        ("tools: mcp__my_server__x", "my.server.x", []),
        ("tools: mcp__gone__x", "", ["mcp__gone__x"]),
        ("tools: mcp__context7__gone", "", ["mcp__context7__gone"]),
        ("mcpServers: [context7]", "context7.resolve context7.get-docs", []),
        ("mcpServers: context7, gone", "context7.resolve context7.get-docs", ["mcp__gone"]),
        ("mcpServers: [{own: {command: x}}, zen-mcp]", "zen-mcp.chat zen-mcp.debug", ["mcp__own"]),
        ("mcpServers: {context7: {url: 'http://x'}}", "context7.resolve context7.get-docs", []),
        ("mcpServers: [context7]\ntools: Read", "", ["Read"]),
        ("mcpServers: [zen-mcp]\ndisallowedTools: mcp__zen-mcp__debug", "zen-mcp.chat", []),
        ("tools: '*'\ndisallowedTools: mcp__zen, Bash", "context7.resolve context7.get-docs my.server.x", []),
        ("tools: '*'\ndisallowedTools: '*'", "", []),
        ("tools: []\nmcpServers: [context7]", "", []),
    ],
)
def test_a_definition_allows(tmp_path: Path, front: str, tools: str, missing: list[str]) -> None:
    allowed = allowed_by(tmp_path, front)
    found = [f"{server}.{tool}" for server, names in TOOLS.items() for tool in names if allowed.allows(server, tool)]
    assert found == tools.split()
    assert allowed.missing_tools(TOOLS) == missing
    # No server is asked in vain, and none that is needed is left out.
    assert {name.rpartition(".")[0] for name in found} <= set(allowed.servers)


def test_a_server_that_was_not_heard_misses_nothing(tmp_path: Path) -> None:
    assert allowed_by(tmp_path, "tools: mcp__context7__gone").missing_tools({}) == []


def test_a_servers_tools_have_names_that_models_can_say() -> None:
    assert tool_name("my.server", "do it/now") == "mcp__my_server__do_it_now"


SCHEMA = {
    "type": "object",
    "properties": {
        "topic": {"type": "string"},
        "count": {"type": ["integer", "null"]},
        "mode": {"enum": ["a", "b"]},
        "free": {},
        "odd": {"type": "file"},
    },
    "required": ["topic"],
}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"topic": "x"}, None),
        ({"topic": "x", "count": 3, "mode": "a", "free": object, "odd": 1, "more": 1}, None),
        ({"topic": "x", "count": 3.0}, None),
        ({"topic": "x", "count": None}, None),
        ({}, "missing arguments: topic"),
        ({"topic": 1}, "topic has to be string"),
        ({"topic": "x", "count": True}, "count has to be integer or null"),
        ({"topic": "x", "count": 3.5}, "count has to be integer or null"),
        ({"topic": "x", "mode": "c"}, 'mode has to be one of ["a", "b"]'),
    ],
)
def test_arguments_are_held_against_the_schema(arguments: dict[str, object], problem: str | None) -> None:
    assert unfit(arguments, SCHEMA) == problem


def test_arguments_that_a_schema_shuts_out_are_named() -> None:
    shut = {**SCHEMA, "additionalProperties": False}
    assert unfit({"topic": "x", "more": 1}, shut) == "unknown arguments: more; there are: topic, count, mode, free, odd"


@pytest.mark.parametrize("schema", [{}, {"properties": [], "required": "x"}, {"properties": {"topic": True}}])
def test_a_schema_that_is_none_refuses_nothing(schema: dict[str, object]) -> None:
    assert unfit({"topic": 1}, schema) is None
