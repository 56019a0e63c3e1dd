"""Read a `.env` file: `NAME=value` lines, optional `export`, quotes, comments. Nothing is expanded or run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")
_CURE = "write NAME=value, with quotes around a value that holds spaces or #"


@dataclass(frozen=True)
class Variable:
    """One assignment and the line it stands on, counted from 1."""

    value: str
    line: int


def parse(text: str, file: str) -> dict[str, Variable]:
    """The variables of a `.env` text by name; a later line wins. Raises `ConfigError` naming each bad line.

    A bad line's text is not repeated: it may be a secret that was split over two lines.
    """
    variables: dict[str, Variable] = {}
    problems = []
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _unquoted(match["value"]) if match else None
        if match is None or value is None:
            name = match["name"] if match else "?"
            what = "its quotes are not closed" if match else f"a line of {len(line)} characters is not NAME=value"
            problems.append(f"{file}:{number}: {name}: {what}; {_CURE}")
        elif "\0" in value:
            problems.append(f"{file}:{number}: {match['name']}: holds a NUL byte; {_CURE}")
        else:
            variables[match["name"]] = Variable(value, number)
    if problems:
        raise ConfigError("\n".join(problems))
    return variables


def _unquoted(value: str) -> str | None:
    """The value without quotes and comment, or None where a quote is not closed."""
    if value[:1] in ("'", '"'):
        end = value.find(value[0], 1)
        rest = value[end + 1 :].strip()
        return value[1:end] if end > 0 and (not rest or rest.startswith("#")) else None
    return re.split(r"\s#", value, maxsplit=1)[0].strip()
