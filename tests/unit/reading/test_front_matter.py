"""Front matter as people have it: YAML where it is YAML, the rest of the line where it is not, text in every case."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reading import front_matter
from reading.front_matter import FrontMatterError, Value
from tests.unit.asking import MANY

KEYS = ("description", "tools", "name")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Use this. It includes: style", "Use this. It includes: style"),
        ("Reviews: a, b: c", "Reviews: a, b: c"),
        ("[BETA] reviews code", "[BETA] reviews code"),
        ("@codebase expert", "@codebase expert"),
        ("`git` expert", "`git` expert"),
        ("**Expert** reviewer", "**Expert** reviewer"),
        ("*", "*"),
        ("100% coverage: always", "100% coverage: always"),
        ("%percent", "%percent"),
        ("> quoted: text", "> quoted: text"),
        ("!important: x", "!important: x"),
        ("{curly} words", "{curly} words"),
        ("& more: x", "& more: x"),
        ('"Use when user says "review" now"', 'Use when user says "review" now'),
        ("'It's: fine'", "It's: fine"),
        ('"Say \\"go\\" and "stop" here"', 'Say "go" and "stop" here'),
        ('"one" and "two"', '"one" and "two"'),
        (r'"a \"b\": \n c"', 'a "b": \n c'),
        (r"plain: \n stays", r"plain: \n stays"),
        ("yes", "yes"),
        ("42", "42"),
        ("2025-01-01", "2025-01-01"),
        ("0777", "0777"),
        ("C# and F#", "C# and F#"),
        ("null", None),
        ("~", None),
        ("", None),
        ('"null"', "null"),
        ("🚀 Ships “fast”", "🚀 Ships “fast”"),
        (r'"\ud83d\ude80 and \ud800"', "🚀 and \ufffd"),
        ("tab\there: x", "tab\there: x"),
    ],
)
def test_the_value_is_the_rest_of_the_line(line: str, value: str | None) -> None:
    assert front_matter.read(f"name: a\ndescription: {line}\ntools: b\n", KEYS) == {
        "name": "a",
        "description": value,
        "tools": "b",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tools:\n\t- Read\n\t- Grep", ["Read", "Grep"]),
        ("tools:\n- Read\n- Grep", ["Read", "Grep"]),
        ("tools:\n- Read\n- Grep\ndescription: a: b", ["Read", "Grep"]),
        ("tools: [Read, 5]", ["Read", "5"]),
        ("tools: &t [Read]\nallowed: *t", ["Read"]),
        ("tools:\n  read: true\n  write: false", {"read": "true", "write": "false"}),
        ("tools: |\n  a: b\n\n  c", "a: b\n\nc"),
        ("x: a: b\ntools: |\n  a: b\n\n  c\n", "a: b\n\nc"),
        ("x: a: b\ntools: >-\n  a:\n  b\n\n  c\n", "a: b\n\nc"),
        ("x: a: b\ntools:\n  one\n  two: three", "one two: three"),
        ("x: !include y\ntools: a", "a"),
        ("hooks: " + "[" * 3000 + "\ntools: a", "a"),
        ("tools: a\ntools: b", "b"),
        ("x: y: z\ntools: a\ntools: b", "b"),
        ("  tools: a\n  x: y: z", "a"),
        ("# first\n\ntools: a\n# x: y: z", "a"),
        ("---\ntools: a: b", "a: b"),
        ('"tools": a: b', "a: b"),
    ],
)
def test_values_over_several_lines(text: str, value: Value) -> None:
    assert front_matter.read(text, KEYS)["tools"] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("description: a: b\n\n<example>", "line 5: '<example>' is neither a key"),
        ("description: a\ngoes on", "line 4: 'goes on' is neither"),
        ("description: a: b\n- c", "line 4: '- c' is neither"),
        ("- a", "no map of keys"),
        ("just text", "no map of keys"),
        ("tools: [[[[[[[a]]]]]]]", "tools: is nested deeper than 5"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\ntools: [" + ", ".join(["*a"] * 300) + "]", "more than 2000 parts"),
    ],
)
def test_what_nothing_can_be_made_of(text: str, words: str) -> None:
    with pytest.raises(FrontMatterError, match=words.replace("[", r"\[")):
        front_matter.read(text, KEYS, first_line=3)


def test_what_nobody_asks_for_may_hold_anything() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\nhooks: [" + ", ".join(["*a"] * 300) + "]\nname: b"
    assert front_matter.read(text, KEYS) == {"a": None, "hooks": None, "name": "b"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("---\na: b\n---\nBody\n", ("a: b\n", 2, "\nBody\n")),
        ("\n\n--- \na: b\n---", ("a: b\n", 4, "")),
        ("---\na: |\n  b\n  ---\n  c\n---\nBody", ("a: |\n  b\n  ---\n  c\n", 2, "\nBody")),
        ("---\na: b\n-----\nBody\n---\n", ("a: b\n", 2, "\nBody\n---\n")),
        ("---\n---\n", ("", 2, "\n")),
    ],
)
def test_front_matter_ends_at_the_first_line_of_dashes(text: str, parts: tuple[str, int, str]) -> None:
    assert front_matter.split(text) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Agent", "no front matter"),
        ("---\na: b\n...\nBody", "no end"),
        ("", "no front"),
        ("x\n---\na: b\n---", "no front"),
    ],
)
def test_a_text_without_front_matter(text: str, words: str) -> None:
    with pytest.raises(FrontMatterError, match=words):
        front_matter.split(text)


# Without "!": a tag is text here.
_LINE = st.text(st.sampled_from("ab:# \"'[]{}*&|>-%@`,?0~\\n\té🚀"), max_size=14)


@MANY
@given(st.lists(st.tuples(st.sampled_from(KEYS), _LINE), min_size=1, max_size=4))
def test_what_is_yaml_means_what_yaml_says(pairs: list[tuple[str, str]]) -> None:
    """The short way for plain lines and the lenient one never change what a document of texts says as YAML."""
    text = "\n".join(f"{key}: {line}" for key, line in pairs)
    try:
        document = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError):
        return
    if not isinstance(document, dict):
        return
    found = front_matter.read(text, KEYS)
    for key, value in document.items():
        if isinstance(value, str) and isinstance(found.get(key), str):
            assert found[key] == value
