"""`~/.claude.json`: its servers and the entry of this project, in bounded memory.

Claude Code keeps every project's history there, so the file outgrows what it says of servers by far: 15 and 65 MB are
reported. A small file is read whole, a large one as a stream of which the rest is passed over.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from discovery.readers.claude_home import MOVED_LABEL, claude_folder
from discovery.request import Request
from reading import safe_files
from reading.safe_files import UnsafeFile
from reading.text import one_line, shown

# Bytes. At 128 MiB the stream takes about a second, which is what a look has for it.
MAX_BYTES = 128 * 1024 * 1024
_WHOLE = 4 * 1024 * 1024  # bytes up to which the file is read at once
_MAX_TEXT = 4 * 1024 * 1024  # characters of what is kept of a larger one
_MAX_VALUES = 500_000
_BUFFER = 1024 * 1024
# What this program wants of a project's entry; its history is most of it.
_OF_A_PROJECT = (
    "mcpServers",
    "disabledMcpServers",
    "enabledMcpjsonServers",
    "disabledMcpjsonServers",
    "enableAllProjectMcpServers",
)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ClaudeJson:
    """What the file says, as JSON values: `servers` for every project, `project` of this one (empty without one)."""

    path: Path
    label: str
    servers: object = field(default_factory=dict, repr=False)
    project: Mapping[str, object] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()


class _Unusable(ValueError):
    """It is JSON, but nothing to be used; the message says why."""


def read(request: Request) -> ClaudeJson:
    """The file for the request's project. Never raises: what can't be read is a warning."""
    folder, label = claude_folder(request.home, request.machine_environment)
    moved = label == MOVED_LABEL
    path = folder / ".claude.json" if moved else request.home / ".claude.json"
    label = f"{label}/.claude.json" if moved else "~/.claude.json"
    names = tuple(dict.fromkeys((str(request.root.absolute()), str(request.root.resolve()))))
    # Three sources of one look want it, and a large one takes half a second.
    with _reading:
        return _read(path, label, names, safe_files.owners_of(request.home), _signature(path))


_reading = threading.Lock()


def _signature(path: Path) -> tuple[int, ...]:
    """What changes with the file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=2)
def _read(
    path: Path, label: str, names: tuple[str, ...], owners: frozenset[int], _signature: tuple[int, ...]
) -> ClaudeJson:
    rules = safe_files.Rules(max_bytes=MAX_BYTES, owners=owners, closed=True)
    try:
        with safe_files.open_file(path, rules) as file:
            kept = {} if file is None else _kept(file, names)
    except UnsafeFile as error:
        return ClaudeJson(path, label, warnings=(f"{label} {error}: ignored",))
    except (ValueError, RecursionError) as error:
        return ClaudeJson(path, label, warnings=(f"{label} {_why(error)}: ignored",))
    found = (
        {key: kept[place] for key in _OF_A_PROJECT if (place := ("projects", name, key)) in kept} for name in names
    )
    return ClaudeJson(path, label, kept.get(("mcpServers",), {}), next(filter(None, found), {}))


def _kept(file: BinaryIO, names: tuple[str, ...]) -> Mapping[tuple[str, ...], object]:
    """The values that count, by the keys that lead to them. Raises `ValueError`."""
    if os.fstat(file.fileno()).st_size <= _WHOLE:
        data = file.read(_WHOLE + 1)
        if len(data) <= _WHOLE:
            return _of_document(json.loads(data.decode("utf-8-sig")), names)
        file.seek(0)
    import ijson  # loaded for large files only: most have none

    try:
        return dict(_of_stream(file, names))
    except ijson.JSONError as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def _of_document(document: object, names: Iterable[str]) -> Mapping[tuple[str, ...], object]:
    if not isinstance(document, dict):
        raise _Unusable(f"holds {shown(document, 40)}, not a map of settings")
    kept: dict[tuple[str, ...], object] = {("mcpServers",): document.get("mcpServers", {})}
    projects = document.get("projects")
    for name in names:
        project = projects.get(name) if isinstance(projects, dict) else None
        if isinstance(project, dict):
            kept |= {("projects", name, key): project[key] for key in _OF_A_PROJECT if key in project}
    return kept


def _of_stream(file: BinaryIO, names: Iterable[str]) -> Iterator[tuple[tuple[str, ...], object]]:
    """The same of a file of any size. Raises `ValueError`."""
    import ijson

    if file.read(len(_BOM)) != _BOM:
        file.seek(0)
    wanted = {("mcpServers",), *(("projects", name, key) for name in names for key in _OF_A_PROJECT)}
    deepest = max(map(len, wanted))
    events = iter(ijson.basic_parse(file, buf_size=_BUFFER))
    if next(events, (None, None))[0] != "start_map":
        raise _Unusable("holds something other than a map of settings")
    place: tuple[str, ...] = ()
    depth = 1  # how many maps and lists are open
    for event, value in events:
        if event == "map_key":
            if depth <= deepest:
                place = (*place[: depth - 1], value)
        elif event in ("end_map", "end_array"):
            depth -= 1
        elif depth == len(place) and place in wanted:
            yield place, _built(event, value, events)
        elif event in ("start_map", "start_array"):
            depth += 1


def _built(event: str, value: Any, events: Iterator[tuple[str, Any]]) -> object:
    """The value that begins with `event`. Raises `_Unusable` where it is larger than it may be."""
    from ijson import ObjectBuilder

    builder = ObjectBuilder()
    depth = characters = count = 0
    while True:
        # Any whole number is one, as Python's own reader has it; what has a fraction comes as a Decimal.
        builder.event(event, float(value) if isinstance(value, Decimal) else value)
        depth += (event in ("start_map", "start_array")) - (event in ("end_map", "end_array"))
        if depth == 0:
            built: object = builder.value
            return built
        count += 1
        characters += len(value) if isinstance(value, str) else 0
        if characters > _MAX_TEXT or count > _MAX_VALUES:
            raise _Unusable(f"says more of servers than {safe_files.size(_MAX_TEXT)} or {_MAX_VALUES} values")
        event, value = next(events)


def _why(error: Exception) -> str:
    if isinstance(error, _Unusable):
        return str(error)
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON (line {error.lineno}: {error.msg})"
    what = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
    return f"is not JSON ({one_line(what, 80)})"
