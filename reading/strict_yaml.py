"""YAML as one may write it by hand without being surprised: one document, plain values, every problem with its line.

YAML 1.1 reads `no` as false, `0777` as 511 and `22:22` as 1342, lets a repeated key win silently, and lets 300 bytes
of aliases grow to gigabytes. Here all of that is a problem with a line number; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import yaml
from yaml.resolver import Resolver

from errors import ConfigError
from reading.text import one_line, shown

MAX_BYTES = 64 * 1024
MAX_PROBLEMS = 100
MAX_DEPTH = 20

Path = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_NEW_OCTAL = re.compile(r"[-+]?0o[0-7]+", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a document. `line` counts from 1; `what` is `what is wrong; what to do`."""

    line: int
    path: Path
    what: str


@dataclass(frozen=True)
class Document:
    """A parsed document: `value` of dict, list, str, int, float, bool and None; keys are always text.

    `lines` gives the line of every path. A value with a problem stands as None in `value`.
    """

    value: object
    lines: Mapping[Path, int]
    problems: tuple[Problem, ...]

    def line(self, path: Path) -> int:
        """The line of `path`, or of its nearest ancestor that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(data: bytes, numbered: Collection[str] = ()) -> Document:
    """Parse `data`. Never raises: a document that is no YAML at all is one problem and the value None.

    `numbered` names the keys below which a map's own keys may be numbers, as in `1: first`.
    """
    if len(data) > MAX_BYTES:
        return _broken(1, f"is larger than {MAX_BYTES // 1024} KiB; shorten it")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return _broken(1, "starts with a byte order mark; save it as plain UTF-8")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _broken(line, f"is not UTF-8 (byte {data[error.start]:#04x}); save it as UTF-8")
    if "\0" in text:
        return _broken(text.count("\n", 0, text.index("\0")) + 1, "has a NUL character; remove it")
    composer = _Composer(text, numbered)
    try:
        return composer.document()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return _broken(line, f"has the character {_character(error.character)}, which YAML does not allow; remove it")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _broken(mark.line + 1 if mark else 1, f"is not YAML: {one_line(error.problem or '')}; correct it")
    except (ValueError, OverflowError):
        # PyYAML hands a \UFFFFFFFF or a %YAML 1.99999… straight to chr() and int().
        return _broken(composer.line, "has an escape or number outside what YAML allows; correct it")
    except _TooDeepError as error:
        return _broken(error.line, f"is nested deeper than {MAX_DEPTH} levels; flatten it")


def key_text(path: Path) -> str:
    """`path` as people write it: `servers.zen-mcp.priority_order[0]`; `(file)` for the whole document."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{one_line(part, 80)}" for part in path)
    return text.removeprefix(".") or "(file)"


def config_error(label: str, problems: Iterable[Problem]) -> ConfigError:
    """All `problems` of the file `label`, in the order of their lines, as one error of one line each."""
    ordered = sorted(problems, key=lambda problem: (problem.line, key_text(problem.path), problem.what))
    lines = (f"{label}:{problem.line}: {key_text(problem.path)}: {problem.what}" for problem in ordered)
    return ConfigError("\n".join(dict.fromkeys(lines)))


class _TooManyError(Exception):
    """Nobody reads on after so many problems."""


class _TooDeepError(Exception):
    def __init__(self, line: int) -> None:
        self.line = line


def _broken(line: int, what: str) -> Document:
    return Document(None, {(): 1}, (Problem(line, (), what),))


class _Composer:
    """Builds the value from PyYAML's events: they still tell a quoted `no` from a plain one, and hold no aliases."""

    def __init__(self, text: str, numbered: Collection[str]) -> None:
        self.line = 1
        self._numbered = numbered
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._lines: dict[Path, int] = {(): 1}
        self._problems: list[Problem] = []

    def document(self) -> Document:
        value: object = None
        documents = 0
        for event in self._stream():
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            documents += 1
            if documents > 1:
                self._problem((), "is a second document in one file; keep only one")
                break
            if event.version or event.tags:
                self._problem((), "has a % directive; remove it")
            try:
                value = self._node(next(self._stream()), ())
            except _TooManyError:
                return Document(None, self._lines, tuple(self._problems))
        return Document(value, self._lines, tuple(self._problems))

    def _stream(self) -> Iterator[yaml.Event]:
        for event in self._events:
            if event.start_mark is not None:
                self.line = event.start_mark.line + 1
            yield event

    def _problem(self, path: Path, what: str) -> None:
        self._problems.append(Problem(self.line, path, what))
        if len(self._problems) == MAX_PROBLEMS:
            self._problems.append(Problem(self.line, path, "is not the last problem; correct these first"))
            raise _TooManyError

    def _node(self, event: yaml.Event, path: Path) -> object:
        if len(path) > MAX_DEPTH:
            raise _TooDeepError(self.line)
        if isinstance(event, yaml.AliasEvent):
            self._problem(path, f"is an alias (*{_named(event)}); write the value out")
            return None
        assert isinstance(event, yaml.NodeEvent)
        if event.anchor is not None:
            self._problem(path, f"has an anchor (&{_named(event)}); remove it")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        assert isinstance(event, yaml.CollectionStartEvent)
        if event.tag is not None:
            self._problem(path, f"has a tag ({one_line(event.tag, 60)}); remove it")
        return self._map(path) if isinstance(event, yaml.MappingStartEvent) else self._list(path)

    def _list(self, path: Path) -> list[object]:
        values: list[object] = []
        for event in self._stream():
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = (*path, len(values))
            self._lines.setdefault(here, self.line)
            values.append(self._node(event, here))
        return values

    def _map(self, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for event in self._stream():
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = self.line
            key = self._key(event, path)
            here = (*path, key)
            if key in values:
                self._problem(here, f"is given twice (first in line {self._lines[here]}); keep one")
            self._lines.setdefault(here, line)
            value = self._node(next(self._stream()), here)
            # The first one stays, so that what else is wrong with it is told too.
            values.setdefault(key, value)
        return values

    def _key(self, event: yaml.Event, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._problem(path, "has a key that is not plain text; write a name")
            self._node(event, (*path, "?"))
            return "?"
        here = (*path, event.value)
        if event.anchor is not None:
            self._problem(here, f"has an anchor (&{_named(event)}); remove it")
        known = len(self._problems)
        value = self._scalar(event, here)
        numbered = isinstance(value, int) and bool(path) and path[-1] in self._numbered
        if len(self._problems) == known and not isinstance(value, str) and not numbered:
            self._problem(here, f"{shown(event.value)} is a key that is not text; put it in quotes")
        return event.value

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> object:
        if event.tag is not None:
            self._problem(path, f"has a tag ({one_line(event.tag, 60)}); remove it")
            return None
        if "\0" in event.value or _SURROGATE.search(event.value):
            self._problem(path, "has a NUL or half a character in it; remove it")
            return None
        if event.style is not None:
            return event.value
        value, trap = plain_value(event.value)
        if trap is not None:
            self._problem(path, trap)
        return value


def _character(found: object) -> str:
    return f"{found:#04x}" if isinstance(found, int) else repr(found)


def _named(event: yaml.NodeEvent) -> str:
    return one_line(event.anchor or "", 40)


_RESOLVER = Resolver()


def plain_value(text: str) -> tuple[object, str | None]:
    """What an unquoted scalar means, and None; or None, and why nobody should rely on what it means."""
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    kind = str(tag).removeprefix(_TAG)
    if kind == "str" and not _NEW_OCTAL.fullmatch(text):
        return text, None
    if kind == "null":
        return None, None
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true", None
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text), None
    if kind == "float" and _DECIMAL.fullmatch(text):
        return float(text), None
    return None, _trap(kind, text)


def _trap(kind: str, text: str) -> str:
    quoted = shown(text, 60)
    if kind == "bool":
        return f"{quoted} is read as true or false; put it in quotes if it is text, or write true or false"
    if kind == "merge":
        return "'<<' merges another map in; write its keys out"
    if kind == "timestamp":
        return f"{quoted} is read as a date; put it in quotes"
    if kind in ("int", "float") and ":" in text:
        return f"{quoted} is read as a number in base 60; put it in quotes"
    if kind in ("int", "float", "str"):
        return f"{quoted} is read as a number in another notation; write it in decimal, or in quotes if it is text"
    return f"{quoted} has a special meaning in YAML; put it in quotes"
