"""`pins/<server>.json`: written so that a review sees everything, and read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mcp_types
import pytest

from discovery.readers.tool_pins import MAX_FILES, pin_text, read_tool_pin, read_tool_pins
from errors import ConfigError
from gateway.pins.judge import judge
from gateway.pins.tool_set import ToolSet, tool_set

TOOLS = tuple(
    mcp_types.Tool.model_validate(tool)
    for tool in (
        {
            "name": "write",
            "description": "Writes a note.\n\nIt holds a hid\u200bden character, and ends in one line.\n",
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}, "at": {}}},
            "annotations": {"readOnlyHint": False, "title": "Write"},
        },
        {"name": "list", "title": "Liste", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}},
    )
)
LISTED = tool_set(mcp_types.Implementation(name="notes", version="1.2"), TOOLS)
GOOD: dict[str, Any] = {
    "schema_version": 1,
    "server": {"name": "notes"},
    "tools": [{"name": "a", "description": ["b"]}],
}


def put(root: Path, text: str | bytes, server: str = "notes") -> None:
    (root / "pins").mkdir(exist_ok=True)
    (root / f"pins/{server}.json").write_bytes(text.encode() if isinstance(text, str) else text)


def test_what_the_application_lists_is_what_it_reads_again(tmp_path: Path) -> None:
    put(tmp_path, pin_text(LISTED.model_dump(mode="json")))
    pin = read_tool_pins(tmp_path)["notes"]
    read = ToolSet.model_validate_json(pin.text)
    assert (read, pin.tools) == (LISTED, 2)
    assert {verdict.kind for verdict in judge(LISTED, read)} == {"same"}


def test_a_review_sees_each_line_and_what_hides(tmp_path: Path) -> None:
    text = pin_text(LISTED.model_dump(mode="json"))
    assert text.isascii()
    assert '"Writes a note.",' in text
    assert "hid\\u200bden" in text
    assert text.index('"list"') < text.index('"write"')
    shuffled = LISTED.model_copy(update={"tools": tuple(reversed(LISTED.tools))})
    assert pin_text(shuffled.model_dump(mode="json")) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", r"pins/notes.json:1: file: is no JSON"),
        ('{"schema_version": 1,\n"tools": [}', r"pins/notes.json:2: file: is no JSON"),
        (b'{\n"schema_version": 1, "x": "\xff"}', r"pins/notes.json:2: file: is no UTF-8"),
        ("[]", "file: is no object"),
        (json.dumps({**GOOD, "schema_version": 2}, indent=1), r":2: schema_version: is 2; this program reads 1"),
        (json.dumps({**GOOD, "schema_version": True}), "schema_version: is true"),
        (json.dumps({**GOOD, "more": 1}, indent=1), r":14: more: unknown key"),
        (json.dumps({**GOOD, "server": "notes"}), "server: is not"),
        (json.dumps({**GOOD, "tools": {}}), "tools: is no list"),
        (json.dumps({**GOOD, "tools": [{}]}), r"tools\[0\]: has no name"),
        (json.dumps({**GOOD, "tools": [{"name": "a", "digest": "0"}]}), r"tools\[0\].digest: unknown key"),
        (json.dumps({**GOOD, "tools": [{"name": "a", "description": "b"}]}), "description: is no list of lines"),
        (json.dumps({**GOOD, "tools": [{"name": "a", "input_schema": []}]}), "input_schema: is no object"),
        (json.dumps({**GOOD, "tools": [{"name": "a"}, {"name": "a"}]}), "stands there twice"),
        ('{"schema_version": 1, "schema_version": 1}', "stands twice in one object"),
        (json.dumps(GOOD).replace("1,", "NaN,"), "NaN: is no number"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_a_cure(tmp_path: Path, text: str | bytes, told: str) -> None:
    put(tmp_path, text)
    with pytest.raises(ConfigError, match=told) as raised:
        read_tool_pins(tmp_path)
    assert "; take the committed file back, or accept the tools anew" in str(raised.value)


def test_every_broken_file_is_named(tmp_path: Path) -> None:
    put(tmp_path, "{", "one")
    put(tmp_path, "{", "two")
    put(tmp_path, json.dumps(GOOD))
    with pytest.raises(ConfigError) as raised:
        read_tool_pins(tmp_path)
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == ["pins/one.json", "pins/two.json"]


def test_a_link_is_not_followed_and_a_name_that_is_no_servers_is_refused(tmp_path: Path) -> None:
    put(tmp_path, json.dumps(GOOD), "Not A Server")
    with pytest.raises(ConfigError, match="its name is no server's"):
        read_tool_pins(tmp_path)
    (tmp_path / "pins/Not A Server.json").unlink()
    (tmp_path / "elsewhere.json").write_text(json.dumps(GOOD))
    (tmp_path / "pins/linked.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ConfigError, match=r"pins/linked.json:1: file"):
        read_tool_pins(tmp_path)


def test_without_pins_there_are_none(tmp_path: Path) -> None:
    assert read_tool_pins(tmp_path) == {}
    assert read_tool_pin(tmp_path, "notes") is None


def test_more_files_than_are_read_are_said(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        put(tmp_path, "{", f"s{number}")
    with pytest.raises(ConfigError, match=f"{MAX_FILES + 1} of them; at most {MAX_FILES} are read"):
        read_tool_pins(tmp_path)
