"""Whose agents are accepted, what is made of each key, and that the application reads what is written for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents import Definition as Deployed
from gateway.agents import read_definition as read_deployed
from gateway.plan import PlannedAgent
from reading.agent_definition import (
    NOT_APPLIED,
    Definition,
    DefinitionError,
    NoNameError,
    agent_id,
    read_definition,
)
from tests.unit.asking import MANY


def read(front: str, body: str = "You help.") -> Definition:
    return read_definition(f"---\n{front}\n---\n\n{body}\n".encode())


def with_front(*lines: str) -> Definition:
    return read("\n".join(("name: a", "description: d", *lines)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reviewer", "reviewer"),
        ("Frontend Developer", "frontend-developer"),
        ("foo_bar", "foo-bar"),
        ("CI/CD  Engineer", "ci-cd-engineer"),
        (".NET 4.8", "net-4-8"),
        ("C# Expert", "c-sharp-expert"),
        ("C++ Expert", "c-plus-plus-expert"),
        ("R&D", "r-and-d"),
        ("Größe é", "grosse-e"),
        ("🚀 Rocket", "rocket"),
        ("3000", "3000"),
        ("コードレビュー", "agent-e38ce824"),
        ("コード Reviewer", "reviewer-f6bbd95b"),
        ("a" * 63, "a" * 63),
        ("a" * 64, "a" * 54 + "-ffe054fe"),
        ("🚀", "agent-ebbc0b28"),
    ],
)
def test_an_id_is_made_of_the_name(name: str, expected: str) -> None:
    assert agent_id(name) == expected


@MANY
@given(st.text())
def test_every_name_has_an_id(name: str) -> None:
    made = agent_id(name)
    assert 0 < len(made) <= 63
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert made[0] != "-"


@pytest.mark.parametrize(
    ("front", "words"),
    [
        ("description: d", "has no name"),
        ("name:\ndescription: d", "has no name"),
        ("name: a", "has no description"),
        ("name: a\ndescription:", "has no description"),
        ("name: a\ndescription: ' '", "has no description"),
        ("name: a\ndescription: [x]", "its description is a list"),
        ("name: [a]\ndescription: d", "its name is a list"),
        ("name: -a\ndescription: d", "begins with '-'"),
        ("name: plugin:a\ndescription: d", "holds ':'"),
        ("name: ../../etc/passwd\ndescription: d", "leads out of a folder"),
        ('name: "a\\x1b[2J"\ndescription: d', "control characters"),
        ("name: a\ndescription: d\n<example>", "line 4: '<example>' is neither"),
    ],
)
def test_a_file_is_refused(front: str, words: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        read(front)
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["# Agents", "---\ntitle: x\n---\n", "---\nname: a\ndescription: d\n"])
def test_what_has_no_name_is_told_apart(text: str) -> None:
    with pytest.raises(NoNameError):
        read_definition(text.encode())


def test_utf_16_is_refused_and_an_older_encoding_read() -> None:
    text = "---\nname: a\ndescription: Prüft\n---\n"
    with pytest.raises(DefinitionError, match="UTF-16"):
        read_definition(text.encode("utf-16"))
    assert read_definition(text.encode("latin-1")).description == "Prüft"
    assert read_definition(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()).description == "Prüft"


@pytest.mark.parametrize(
    ("line", "tools"),
    [
        ("", None),
        ("tools:", None),
        ("tools: []", ()),
        ("tools: {}", ()),
        ("tools: *", ("*",)),
        ("tools: Read, Grep,Read", ("Read", "Grep")),
        ("tools: Bash(git:*), Agent(a, b), mcp__x__*", ("Bash(git:*)", "Agent(a, b)", "mcp__x__*")),
        ('tools: ["Read", "Grep"]', ("Read", "Grep")),
        ("tools: [Read, 5]", ("Read", "5")),
        ("tools:\n  - Read, Write\n  - Grep", ("Read", "Write", "Grep")),
        ("tools:\n  read: true\n  write: false", ("read",)),
    ],
)
def test_tools(line: str, tools: tuple[str, ...] | None) -> None:
    assert with_front(line).tools == tools


@pytest.mark.parametrize(
    ("line", "servers"),
    [
        ("mcpServers: context7, github", ("context7", "github")),
        ("mcpServers: [context7]", ("context7",)),
        ("mcpServers:\n  - own:\n      command: npx\n  - other", ("own", "other")),
        ("mcpServers:\n  own: {url: 'http://x'}", ("own",)),
    ],
)
def test_servers_count_by_their_names(line: str, servers: tuple[str, ...]) -> None:
    assert with_front(line).mcp_servers == servers


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("model: opus[1m]", "opus[1m]"),
        ("model: inherit", "inherit"),
        ("model: claude-opus-4-1@20250805", "claude-opus-4-1@20250805"),
        ("model: Claude Sonnet 4.5 (copilot)", "Claude Sonnet 4.5 (copilot)"),
        ("model:", None),
        ("model: sonnet # or opus", "sonnet"),
        ("model: [sonnet, opus]", "sonnet"),
        ("model: {a: b}", None),
    ],
)
def test_models(line: str, model: str | None) -> None:
    assert with_front(line).model == model


def test_what_makes_no_sense_costs_only_itself_and_is_noted() -> None:
    read = with_front("model: {a: b}", "maxTurns: many", "server: [x]", "tools: [[x]]")
    assert (read.model, read.max_turns, read.server, read.tools) == (None, None, None, ())
    assert [note.partition(" ")[0] for note in read.notes] == ["model", "tools", "maxTurns", "server"]


def test_what_only_claude_code_does_is_named() -> None:
    assert with_front(*(f"{key}: x" for key in NOT_APPLIED), "whatever: 1").not_applied == NOT_APPLIED


def test_the_prompt_is_the_body_or_the_key_of_a_yaml_file() -> None:
    assert read("name: a\ndescription: d", "\nA\n\n---\n\nB: x").prompt == "A\n\n---\n\nB: x"
    text = "name: a\ndescription: It says: this\nprompt: |\n  You\n  help: always\n"
    assert read_definition(text.encode(), is_yaml=True).prompt == "You\nhelp: always"


_WORDS = st.sampled_from(
    [
        "a",
        "no",
        "[a]",
        "*a",
        "&a b",
        "'",
        '"',
        "{",
        "|\n  text\n  ---",
        "!!x y",
        "1",
        "a: b",
        "\t- x",
        '"\\ud800"',
        "\0",
    ]
)
_KEYS = st.sampled_from(["name", "description", "model", "tools", "mcpServers", "maxTurns", "prompt", "tool", "<<"])
_FRONT = st.lists(st.tuples(_KEYS, _WORDS | st.text(max_size=10)).map(": ".join), max_size=6).map("\n".join)


@MANY
@given(front=_FRONT | st.text(max_size=40), body=st.text(max_size=20), is_yaml=st.booleans(), named=st.booleans())
def test_any_text_is_a_definition_that_the_application_reads_or_a_reason(
    tmp_path: Path, front: str, body: str, is_yaml: bool, named: bool
) -> None:
    front = f"name: x\ndescription: y\n{front}" if named else front
    text = front if is_yaml else f"---\n{front}\n---\n{body}"
    try:
        read = read_definition(text.encode("utf-8", "surrogatepass"), is_yaml=is_yaml)
    except DefinitionError as error:
        assert str(error).isprintable()
        return
    assert read.name.isprintable()
    assert agent_id(read.name)
    file = tmp_path / "definition.json"
    file.write_text(read.to_json(), encoding="utf-8")
    deployed = read_deployed(PlannedAgent(file=file, path="x"))
    said = set(Deployed.model_fields) - {"model"}
    assert deployed.model_dump(include=said, mode="json") == {
        key: value for key, value in json.loads(read.to_json()).items() if key in said
    }


@MANY
@given(st.binary(max_size=200))
def test_any_bytes_are_a_definition_or_a_reason(data: bytes) -> None:
    for text in (data, b"---\n" + data + b"\n---\n"):
        try:
            assert read_definition(text).name
        except DefinitionError as error:
            assert str(error)


@pytest.mark.parametrize(
    "text",
    [
        "hooks: " + "[" * 3000,
        "hooks: " + "{a: " * 3000,
        "hooks:\n" + "- " * 5000,
        "x: y" + " " * 200_000 + ": z",
        "tools: " + "a," * 100_000,
        "tools: " + "(," * 100_000,
        "model: " + "-" * 200_000,
        '"' * 200_000,
        "tools: |\n" + " \n" * 100_000,
        "tools:\n" + "\t- a\n" * 50_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    try:
        with_front(text)
    except DefinitionError as error:
        assert str(error)
    assert time.process_time() - started < 1.0
