"""Each rule of the judge is taken out of a copy of it, and a change that it alone blocks must be served then."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.tests.test_pins import DESCRIPTION, HINTS, SCHEMA, schema, tool

PINS = Path(__file__).parents[1] / "pins"
PATH: dict[str, Any] = SCHEMA["properties"]["path"]


def said(words: str) -> dict[str, Any]:
    return {"description": f"{DESCRIPTION} {words}"}


def takes(**properties: Any) -> dict[str, Any]:
    return {"inputSchema": schema(**properties)}


# The rule; where it stands, its text, and what takes its place; the change that only it blocks.
RULES: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    (
        "a new address blocks",
        "judge.py",
        "if address not in old.addresses:",
        "if False:",
        said("See https://x.example/y"),
    ),
    ("a wider hint blocks", "judge.py", "is_now == wide:", "False:", {"annotations": {**HINTS, "readOnlyHint": False}}),
    (
        "hints hold what they hold without being given",
        "judge.py",
        '("openWorldHint", True, True)',
        '("openWorldHint", False, True)',
        {"annotations": {key: value for key, value in HINTS.items() if key != "openWorldHint"}},
    ),
    (
        "a new mark blocks",
        "judge.py",
        "if (mark.code, mark.words) not in known and",
        "if False and",
        {"description": DESCRIPTION.replace("file", "fi\u200ble")},
    ),
    (
        "an added order blocks",
        "judge.py",
        "if count > known[code, says, found]:",
        "if False:",
        said("Always name the project."),
    ),
    (
        "a sentence after the first that begins like an order blocks",
        "judge.py",
        "[] if is_first else",
        "[] if True else",
        said("Check the notes too."),
    ),
    (
        "another script blocks",
        "judge.py",
        "for script in sorted(new.scripts - old.scripts):",
        "for script in ():",
        said("\u8bfb\u53d6\u6587\u4ef6"),
    ),
    (
        "names count as words",
        "judge.py",
        'replace("_", " ")',
        'replace("_", "")',
        {"outputSchema": {"type": "object", "properties": {"always_first": {}}}},
    ),
    (
        "what is read is in small letters",
        "addresses.py",
        "lowered = text.casefold()",
        "lowered = text",
        said("See EVIL.COM"),
    ),
    (
        "a dot that is put in brackets is a dot",
        "reading.py",
        "latin = pattern.sub(instead, latin)",
        "pass",
        said("See evil[.]com"),
    ),
    (
        "a tool that was not accepted is blocked",
        "judge.py",
        '("same", "reworded"',
        '("same", "new", "reworded"',
        {"name": "x"},
    ),
    (
        "what was too long to be kept is not guessed at",
        "judge.py",
        "    if is_too_long(now) or is_too_long(before):\n",
        "    if is_too_long(now) or is_too_long(before):\n        return\n",
        {"description": DESCRIPTION + " word" * 50_000},
    ),
    (
        "a new parameter blocks",
        "schemas.py",
        "if name in before:\n",
        "if True:\n                continue\n",
        takes(notes={}),
    ),
    (
        "a wider type blocks",
        "schemas.py",
        "if before and (wider :=",
        "if False and (wider :=",
        takes(limit={"type": ["integer", "array"], "minimum": 1, "maximum": 100}),
    ),
    (
        "another choice blocks",
        "schemas.py",
        "elif added := sorted(now - before):",
        "elif added := None:",
        takes(mode={"type": "string", "enum": ["text", "binary", "all"], "default": "text"}),
    ),
    (
        "a wider bound blocks",
        "schemas.py",
        "(now > before) == (key in _UPPER)",
        "False",
        takes(path={**PATH, "maxLength": 300}),
    ),
    (
        "another default blocks",
        "schemas.py",
        'if "default" in new and',
        "if False and",
        takes(mode={"type": "string", "enum": ["text", "binary"], "default": "binary"}),
    ),
    (
        "what becomes required blocks",
        "schemas.py",
        "if name in before or name not in now:",
        "if False:",
        {"inputSchema": {**SCHEMA, "required": ["path", "limit"]}},
    ),
    (
        "what may be left out blocks",
        "schemas.py",
        "for name in sorted((wanted_before - wanted_now) & now.keys()):",
        "for name in ():",
        {"inputSchema": {**SCHEMA, "required": []}},
    ),
    (
        "parameters without a name block",
        "schemas.py",
        "if rest_before is True or rest_before == {}:",
        "if True:",
        {"inputSchema": {**SCHEMA, "additionalProperties": True}},
    ),
    (
        "one more shape blocks",
        "schemas.py",
        'self._say("looser", where, f"{key} takes one more shape")',
        "pass",
        takes(options={"anyOf": [*SCHEMA["properties"]["options"]["anyOf"], {"type": "string"}]}),
    ),
    (
        "what can't be told blocks",
        "schemas.py",
        'self._say("unclear", where, f"{key} is another: what it takes now can\'t be told"[:160])',
        "pass",
        {"inputSchema": {**SCHEMA, "patternProperties": {"^x": {}}}},
    ),
    (
        "references are followed",
        "schemas.py",
        "return place if isinstance(place, Mapping) else None",
        "return {}",
        {"inputSchema": {**SCHEMA, "$defs": {"Options": {"type": "object", "properties": {"tail": {}}}}}},
    ),
)


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], Any]:
    """The judge of a copy in which a text of a file stands no more."""

    def altered(file: str, text: str, instead: str) -> Any:
        package = f"pins_{tmp_path.name.replace('-', '_')}"
        folder = tmp_path / package
        folder.mkdir()
        for name in ("__init__", "tool_set", "reading", "addresses", "schemas", "rules", "marks", "judge"):
            source = (PINS / f"{name}.py").read_text()
            if f"{name}.py" == file:
                assert text in source, f"{file} has no {text!r} any more"
                source = source.replace(text, instead, 1)
            (folder / f"{name}.py").write_text(source.replace("gateway.pins", package))
        monkeypatch.syspath_prepend(str(tmp_path))
        module = importlib.import_module(f"{package}.judge")
        tools = importlib.import_module(f"{package}.tool_set")
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)

        def served(now: dict[str, Any]) -> list[bool]:
            accepted, listed = (tools.tool_set(None, [one]) for one in (tool(), tool(**now)))
            return [one.is_served for one in module.judge(listed, accepted) if one.kind != "gone"]

        return served

    return altered


@pytest.mark.parametrize(
    ("file", "text", "instead", "now"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES]
)
def test_with_all_rules_the_change_is_blocked(
    without: Callable[[str, str, str], Any], file: str, text: str, instead: str, now: dict[str, Any]
) -> None:
    assert without(file, text, text)(now) == [False]


@pytest.mark.parametrize(
    ("file", "text", "instead", "now"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES]
)
def test_without_the_rule_the_change_is_served(
    without: Callable[[str, str, str], Any], file: str, text: str, instead: str, now: dict[str, Any]
) -> None:
    assert without(file, text, instead)(now) == [True]
