"""`pins/<server>.json`: what a server's tools were like when somebody accepted them (docs/pins.md).

Written by `python -m discovery accept`, committed and reviewed like code. Each is read strictly: what is misread here
would let a changed tool pass.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import ConfigError
from reading import safe_files
from reading.text import one_line

FOLDER = "pins"
SCHEMA_VERSION = 1
MAX_BYTES = 8 * 1024 * 1024
MAX_FILES = 500

_RULES = safe_files.Rules(max_bytes=MAX_BYTES, follow=False)
# A service's name, which is what a file is named after.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_OBJECTS = ("input_schema", "output_schema", "annotations")
_KEYS = ("name", "title", "description", *_OBJECTS)
_CURE = "take the committed file back, or accept the tools anew"


@dataclass(frozen=True)
class ToolPin:
    """One pin. `text` is what the application reads of it (JSON), `sha256` tells versions of the file apart."""

    server: str
    text: str
    sha256: str
    tools: int


class _WrongError(Exception):
    """What is wrong with a file: the line, the key, what is wrong."""

    def __init__(self, line: int, key: str, what: str) -> None:
        super().__init__(f"{line}: {key}: {what}")


def file_of(server: str) -> str:
    """Where the pin of a server lies, from the project's folder."""
    return f"{FOLDER}/{server}.json"


def read_tool_pins(root: Path) -> dict[str, ToolPin]:
    """Every pin of the project, by server. Raises `ConfigError`, one line for each file that can't be read."""
    folder = root / FOLDER
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    if len(files) > MAX_FILES:
        raise ConfigError(f"{FOLDER}:1: files: {len(files)} of them; at most {MAX_FILES} are read; remove some")
    pins, problems = {}, []
    for path in files:
        try:
            if (pin := read_tool_pin(root, path.stem)) is not None:
                pins[pin.server] = pin
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return pins


def read_tool_pin(root: Path, server: str) -> ToolPin | None:
    """The pin of one server; None where there is none. Raises `ConfigError`."""
    where = file_of(server)
    try:
        data = safe_files.read_file(root / where, _RULES)
    except safe_files.UnsafeFile as error:
        raise ConfigError(f"{where}:1: file: {error}; {_CURE}") from error
    if data is None:
        return None
    try:
        if _NAME.fullmatch(server) is None:
            raise _WrongError(1, "file", "its name is no server's")
        text = _text(data)
        document = _read(text)
        tools = [_tool(text, number, tool) for number, tool in enumerate(document["tools"])]
        _check_distinct(text, tools)
    except _WrongError as error:
        raise ConfigError(f"{where}:{one_line(str(error))}; {_CURE}") from error
    whole = {"schema_version": SCHEMA_VERSION, "server": document["server"], "tools": tools}
    rendered = json.dumps(whole, indent=1, sort_keys=True) + "\n"
    return ToolPin(server, rendered, hashlib.sha256(data).hexdigest(), len(tools))


def pin_text(listed: Mapping[str, Any]) -> str:
    """The file for what the application says that a server lists (`ToolSet` as JSON); always the same for the same.

    A description stands line by line, and all that is not ASCII is escaped: what hides shows in a review.
    """
    server = listed.get("server")
    tools = []
    for tool in sorted(listed["tools"], key=lambda tool: str(tool["name"])):
        kept = {key: _sorted(tool[key]) for key in _KEYS if tool.get(key) is not None}
        if "description" in kept:
            kept["description"] = str(kept["description"]).split("\n")
        tools.append(kept)
    introduced = None if server is None else {key: server[key] for key in ("name", "version") if server.get(key)}
    document = {"schema_version": SCHEMA_VERSION, "server": introduced, "tools": tools}
    return json.dumps(document, indent=2) + "\n"


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _WrongError(data.count(b"\n", 0, error.start) + 1, "file", "is no UTF-8 text") from error


def _read(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise _WrongError(error.lineno, "file", f"is no JSON: {error.msg}") from error
    except RecursionError as error:
        raise _WrongError(1, "file", "is nested too deep") from error
    if not isinstance(document, dict):
        raise _WrongError(1, "file", "is no object")
    if (version := document.get("schema_version")) != SCHEMA_VERSION or isinstance(version, bool):
        what = f"is {json.dumps(version)[:40]}; this program reads {SCHEMA_VERSION}"
        raise _WrongError(_line(text, '"schema_version"'), "schema_version", what)
    if unknown := sorted(document.keys() - {"schema_version", "server", "tools"}):
        raise _WrongError(_line(text, json.dumps(unknown[0])), unknown[0], "unknown key")
    server = document.get("server")
    if server is not None and not (
        isinstance(server, dict)
        and isinstance(server.get("name"), str)
        and isinstance(server.get("version", ""), str)
        and not server.keys() - {"name", "version"}
    ):
        raise _WrongError(_line(text, '"server"'), "server", "is not {name, version}")
    document["server"] = server
    if not isinstance(document.get("tools"), list):
        raise _WrongError(_line(text, '"tools"'), "tools", "is no list")
    return document


def _tool(text: str, number: int, tool: object) -> dict[str, Any]:
    key = f"tools[{number}]"
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        raise _WrongError(_line(text, '"tools"'), key, "has no name")
    line = _line(text, f'"name": {json.dumps(tool["name"])}')
    if unknown := sorted(tool.keys() - set(_KEYS)):
        raise _WrongError(line, f"{key}.{unknown[0]}", "unknown key")
    if not isinstance(tool.get("title", ""), str):
        raise _WrongError(line, f"{key}.title", "is no text")
    description = tool.get("description", [])
    if not isinstance(description, list) or not all(isinstance(one, str) for one in description):
        raise _WrongError(line, f"{key}.description", "is no list of lines")
    for name in _OBJECTS:
        if not isinstance(tool.get(name, {}), dict):
            raise _WrongError(line, f"{key}.{name}", "is no object")
    return {**tool, **({"description": "\n".join(description)} if "description" in tool else {})}


def _check_distinct(text: str, tools: Sequence[Mapping[str, Any]]) -> None:
    seen = set()
    for tool in tools:
        if tool["name"] in seen:
            line = _line(text, f'"name": {json.dumps(tool["name"])}')
            raise _WrongError(line, "tools", f"{json.dumps(tool['name'])[:60]} stands there twice")
        seen.add(tool["name"])


def _line(text: str, words: str) -> int:
    place = text.find(words)
    return 1 if place < 0 else text.count("\n", 0, place) + 1


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _WrongError(1, json.dumps(twice)[:60], "stands twice in one object")
    return found


def _no_number(name: str) -> Any:
    raise _WrongError(1, name, "is no number of JSON")
