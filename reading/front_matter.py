"""Front matter as other people write it: YAML where it is YAML, and otherwise one entry a line.

People write `description: Use this. It includes: style`, which YAML refuses and Claude Code takes: there, and here, the
value is the rest of the line. Every value is text as it is written: `yes`, `3000` and `2025-01-01` are what they say.
Our own files are read by `strict_yaml`, which guesses nothing.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from reading.text import shown

# What one value may hold, aliases counted each time: 300 bytes of them can grow to gigabytes.
MAX_DEPTH = 5
_MAX_NESTING = 20
MAX_PARTS = 2_000
# PyYAML reads 100 to 1,000 KB/s. What is longer is read by its entries, in no time.
MAX_YAML_CHARACTERS = 16 * 1024

Value = str | list["Value"] | dict[str, "Value"] | None

_FRONT_MATTER = re.compile(r"\n*---[ \t]*\n(?P<head>.*?)^-{3,}[ \t]*$(?P<body>.*)", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"(?P<quote>[\"']?)(?P<key>[A-Za-z_][\w-]*)(?P=quote)[ \t]*:(?:[ \t]+(?P<value>.*))?")
# Neither an indicator of YAML at its start, nor one inside: such a line means the same in YAML and here. (`*+` gives
# nothing back, so that a line of spaces takes no longer than any other.)
_PLAIN_LINE = re.compile(
    r"(?P<key>[A-Za-z_][\w-]*):(?: +(?:"
    r"(?P<value>(?:[^\W_]|[^\x00-\x7f])(?:[^\s:]|:(?=\S)| (?!#))*+)"
    r"|(?P<quoted>\"(?:[^\"\\]|\\[\"\\nt])*+\")"
    r"))?"
)
_BLOCK = re.compile(r"[|>](?:[+-]?[1-9]?|[1-9][+-])(?:[ \t]+#.*)?")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_SURROGATE = re.compile("[\ud800-\udfff]")


class FrontMatterError(Exception):
    """The text can't be read; the message is `what is wrong; what to do`, with the line where there is one."""


def split(text: str) -> tuple[str, int, str]:
    """What stands between the two lines of `---`, the number of its first line, and what follows.

    Raises `FrontMatterError`.
    """
    if not text.lstrip("\n").startswith("---"):
        raise FrontMatterError(
            "has no front matter; begin it with a line of ---, a name, a description, and another ---"
        )
    match = _FRONT_MATTER.fullmatch(text)
    if match is None:
        raise FrontMatterError("has no end of its front matter; put a line of --- below it")
    return match["head"], text.count("\n", 0, match.start("head")) + 1, match["body"]


def read(text: str, keys: Collection[str], first_line: int = 1) -> dict[str, Value]:
    """The values of `keys` in `text`, and None for every other key; of a key that is given twice, the last one.

    `first_line` is the number of the text's first line in its file. Raises `FrontMatterError`.
    """
    plain = _plain(text)
    if plain is not None:
        return {key: value if key in keys else None for key, value in plain.items()}
    pairs = _as_yaml(text)
    # `!important: x` is a tag to YAML, and was none to who wrote it.
    if pairs is None or any(node.tag.startswith("!") for key, node in pairs.items() if key in keys):
        return _by_entries(text, keys, first_line)
    return {key: _value(node, key) if key in keys else None for key, node in pairs.items()}


def _plain(text: str) -> dict[str, Value] | None:
    """What nearly every file has, for the tenth of the time: lines that need no YAML to be understood."""
    found: dict[str, Value] = {}
    for line in text.split("\n"):
        if not line:
            continue
        match = _PLAIN_LINE.fullmatch(line.rstrip(" ")) if line.isprintable() else None
        if match is None:
            return None
        # These escapes are JSON's too.
        quoted = json.loads(match["quoted"]) if match["quoted"] else None
        found[match["key"]] = _text(match["value"] or "") if quoted is None else quoted
    return found


def _is_deep(text: str) -> bool:
    """Whether brackets open without end: PyYAML scans 3,000 of them for seconds."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = max(0, depth + (1 if bracket in "[{" else -1))
        if depth > _MAX_NESTING:
            return True
    return False


def _as_yaml(text: str) -> Mapping[str, yaml.Node] | None:
    """The nodes by key, or None where it is no YAML. No tag is followed: every scalar is its text."""
    if len(text) > MAX_YAML_CHARACTERS or _is_deep(text):
        return None
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        # PyYAML hands a \UFFFFFFFF or a %YAML 1.99999… straight to chr() and int().
        return None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise FrontMatterError("is no map of keys; write name: and description:, one a line")
    return {key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)}


@dataclass
class _Parts:
    left: int = MAX_PARTS


def _value(node: yaml.Node, key: str) -> Value:
    return _converted(node, key, 0, _Parts())


def _converted(node: yaml.Node, key: str, depth: int, parts: _Parts) -> Value:
    parts.left -= 1
    if depth > MAX_DEPTH or parts.left < 0:
        raise FrontMatterError(f"{key}: is nested deeper than {MAX_DEPTH} levels or has more than {MAX_PARTS} parts")
    if isinstance(node, yaml.ScalarNode):
        return _text(node.value) if node.style is None else _whole(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_converted(one, key, depth + 1, parts) for one in node.value]
    return {
        _whole(name.value): _converted(value, key, depth + 1, parts)
        for name, value in node.value
        if isinstance(name, yaml.ScalarNode)
    }


def _text(plain: str) -> str | None:
    return None if plain in _NULLS else _whole(plain)


def _whole(text: str) -> str:
    r"""The text with pairs of escapes (`\ud83d\ude00`) made whole, and halves replaced: no file could hold them."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass
class _Entry:
    """A key with what stands behind it, and the lines that belong to it."""

    value: str
    lines: list[str] = field(default_factory=list)


def _by_entries(text: str, keys: Collection[str], first_line: int) -> dict[str, Value]:
    found = dict(_entries(text, first_line))
    return {key: _of_entry(entry) if key in keys else None for key, entry in found.items()}


def _entries(text: str, first_line: int) -> Iterator[tuple[str, _Entry]]:
    entry: _Entry | None = None
    for number, line in enumerate(textwrap.dedent(text).split("\n"), first_line):
        line = line.rstrip()
        match = _ENTRY.fullmatch(line)
        if match is not None:
            entry = _Entry((match["value"] or "").strip())
            yield match["key"], entry
        elif entry is not None and (not line or line[0] in " \t" or (line[0] == "-" and not entry.value)):
            entry.lines.append(line)
        elif line and line[0] != "#" and not (entry is None and line == "---"):
            raise FrontMatterError(
                f"line {number}: {shown(line, 40)} is neither a key with its value nor indented; indent text that goes "
                "on, below a | behind its key"
            )


def _of_entry(entry: _Entry) -> Value:
    lines = entry.lines
    if not any(lines):
        return _line(entry.value)
    if _BLOCK.fullmatch(entry.value):
        block = textwrap.dedent("\n".join(lines)).strip("\n")
        return _whole(block if entry.value[0] == "|" else re.sub(r"(?<=\S)\n(?=\S)", " ", block))
    inner = [line.strip() for line in lines if line.strip()]
    if not entry.value and all(line.startswith("-") for line in inner):
        # tools:\n\t- Read\n\t- Grep
        return [_line(line[1:].strip()) for line in inner]
    return _line(" ".join([entry.value, *inner]).strip())


def _line(text: str) -> str | None:
    """The rest of a line, without the quotes around it."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and _belong_together(text):
        inner = text[1:-1]
        inner = inner.replace("\\n", "\n").replace('\\"', '"') if text[0] == '"' else inner.replace("''", "'")
        return _whole(inner)
    return _text(text)


def _belong_together(text: str) -> bool:
    """Whether the quotes at both ends are around all of it: not in `"one" and "two"`, but in `"they say "go" here"`."""
    quote, inner = text[0], text[1:-1].replace("\\" + text[0], "__")
    at = inner.find(quote)
    return at < 1 or inner[at - 1].isspace() or inner[at + 1 : at + 2].isalnum()
