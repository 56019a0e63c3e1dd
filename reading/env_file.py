"""Read a `.env` file as docker compose does: `NAME=value` lines, quotes, comments, and variables in values.

Source: docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/ and compose-go's packages dotenv
and template. Three things are as other libraries have them: a comment behind `NAME=` is no value, a `$` that begins no
variable is itself, and a line that can't be read costs only itself, for other programs' variables are in the file, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_VALUE = 128 * 1024  # characters; Linux passes on no longer variable
_MAX_DEPTH = 10  # of defaults in defaults

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_SPACE = r"[ \t\v\f\r]*"
_LINE = re.compile(rf"(?:export[ \t]+)?([A-Za-z0-9_.\[\]-]+){_SPACE}(?:[=:]({_SPACE})|$)", re.MULTILINE)
_FIRST_WORD = re.compile(rf"(?:export[ \t]+)?({_NAME})")
_QUOTED = {quote: re.compile(rf"{quote}([^{quote}\\]*(?:\\.[^{quote}\\]*)*){quote}", re.DOTALL) for quote in "'\""}
_NOTHING_MORE = re.compile(rf"{_SPACE}(?:#.*)?$", re.MULTILINE)
_COMMENT = re.compile(r"\s#")
_ESCAPE = re.compile(r'\\([abfnrtv$"\\])')
# A plain $ stands for itself in the next step.
_ESCAPED = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "$": "$$",
    '"': '"',
    "\\": "\\",
}
_NAMED = re.compile(_NAME)
_BRACE = re.compile(r"\$\{|\}")
_REFERENCE = re.compile(rf"({_NAME})(?:(:?[-?+])(.*))?", re.DOTALL)
_PLAINLY_A_NAME = re.compile(r"[A-Z]+(?:_[A-Z0-9]+)*")
_CURE = "write NAME=value, with quotes around a value that holds spaces or #"


@dataclass(frozen=True)
class Variable:
    """One assignment and the line on which it begins, counted from 1.

    `takes` names the environment's variables whose values are part of this one.
    """

    value: str = field(repr=False)
    line: int
    takes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Problem:
    """What is wrong with one line: `what is wrong; what to do`. `name` is "" where the line begins with no
    name in capitals.

    `is_broken`: the line gives no value. Otherwise it does, and a variable in it is not set and counts as empty.
    """

    line: int
    name: str
    what: str
    is_broken: bool = True


@dataclass(frozen=True)
class EnvFile:
    """The variables of a `.env` file by name, and what is wrong with it, in the order of its lines."""

    variables: Mapping[str, Variable] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def parse(text: str, environment: Mapping[str, str]) -> EnvFile:
    """Read a `.env` text. Total; a later line wins. Where a value names a variable, `environment` comes first.

    A bad line's text is not repeated: it may be a secret that was split over two lines.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    variables: dict[str, Variable] = {}
    problems: list[Problem] = []
    position, line = 0, 1
    while position < len(text):
        end = _end_of_line(text, position)
        try:
            if (written := _written(text, position, end)) is not None:
                made = _Expansion(variables, environment)
                value = made.of(written.text) if written.expands else written.text
                variables[written.name] = Variable(_checked(value), line, frozenset(made.takes))
                problems += [Problem(line, written.name, what, is_broken=False) for what in made.unset]
                end = written.end
        except _BrokenError as error:
            problems.append(Problem(line, _name_at(text, position), str(error)))
        line += text.count("\n", position, end + 1)
        position = end + 1
    return EnvFile(variables, tuple(problems))


class _BrokenError(Exception):
    """The line gives no value; the text is a `Problem`'s."""


@dataclass(frozen=True)
class _Written:
    """An assignment without its quotes and comment; `end` is where its last line ends."""

    name: str
    text: str
    end: int
    expands: bool = True


def _end_of_line(text: str, position: int) -> int:
    found = text.find("\n", position)
    return len(text) if found < 0 else found


def _first_character(text: str, position: int, end: int) -> int:
    return end - len(text[position:end].lstrip())


def _name_at(text: str, position: int) -> str:
    start = _first_character(text, position, _end_of_line(text, position))
    word = _FIRST_WORD.match(text, start)
    # Another word may be the rest of a secret.
    return word[1] if word and _PLAINLY_A_NAME.fullmatch(word[1]) else ""


def _written(text: str, position: int, end: int) -> _Written | None:
    """The assignment on the line from `position` to `end`; None where the line says nothing. Raises `_BrokenError`."""
    start = _first_character(text, position, end)
    if start == end or text[start] == "#":
        return None
    match = _LINE.match(text, start)
    if match is None:
        raise _BrokenError(f"a line of {end - start} characters is not NAME=value; {_CURE}")
    name, space = match.groups()
    if space is None:
        return None  # a name alone is the environment's variable, which counts anyway
    quote = text[match.end() : match.end() + 1]
    if quote in _QUOTED:
        return _quoted(text, name, match.end(), quote)
    # "A= # comment" is empty, but nothing makes a comment of the "#" in "A=#1".
    value = "" if quote == "#" and space else _COMMENT.split(text[match.end() : end], maxsplit=1)[0]
    return _Written(name, value.strip(), end)


def _quoted(text: str, name: str, start: int, quote: str) -> _Written:
    match = _QUOTED[quote].match(text, start)
    if match is None:
        raise _BrokenError(f"its quotes are not closed; {_CURE}")
    if _NOTHING_MORE.match(text, match.end()) is None:
        raise _BrokenError(f"something stands after its closing quote; {_CURE}")
    end = _end_of_line(text, match.end())
    if quote == "'":
        return _Written(name, match[1].replace("\\'", "'"), end, expands=False)
    return _Written(name, _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], match[1]), end)


def _checked(value: str) -> str:
    if "\0" in value:
        raise _BrokenError(f"holds a NUL byte; {_CURE}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _BrokenError("is not UTF-8; save the file as UTF-8 text")
    return value


class _Expansion:
    """Puts values in the place of variables; `takes` and `unset` are what that met on the way."""

    def __init__(self, variables: Mapping[str, Variable], environment: Mapping[str, str]) -> None:
        self._variables = variables
        self._environment = environment
        self.takes: set[str] = set()
        self.unset: list[str] = []

    def of(self, text: str, depth: int = 0) -> str:
        """`text` with the values of its variables. Raises `_BrokenError`."""
        if depth > _MAX_DEPTH:
            raise _BrokenError(f"has more than {_MAX_DEPTH} defaults in one another; write it out")
        parts: list[str] = []
        length, position = 0, 0
        while (dollar := text.find("$", position)) >= 0:
            value, after = self._at(text, dollar, depth)
            parts += (text[position:dollar], value)
            length += dollar - position + len(value)
            # Each line may double the one before.
            if length > MAX_VALUE:
                raise _BrokenError(f"is longer than {MAX_VALUE // 1024} KiB with its variables; shorten it")
            position = after
        return "".join((*parts, text[position:]))

    def _at(self, text: str, dollar: int, depth: int) -> tuple[str, int]:
        """What stands for the `$` at `dollar` and what belongs to it, and where the text goes on."""
        start = dollar + 1
        if text[start : start + 1] == "$":
            return "$", start + 1
        if text[start : start + 1] == "{":
            end = _closing_brace(text, dollar)
            match = _REFERENCE.fullmatch(text, start + 1, end)
            if match is None:
                raise _BrokenError("names no variable between its ${ and }; write ${NAME}, or $$ for a $")
            return self._braced(match[1], match[2], match[3] or "", depth), end + 1
        named = _NAMED.match(text, start)
        return (self._plain(named[0]), named.end()) if named else ("$", start)

    def _braced(self, name: str, operator: str | None, word: str, depth: int) -> str:
        value = self._value(name)
        if operator is None:
            if value is None:
                self.unset.append(f"{name} is not set, and counts as empty; set it, or write ${{{name}:-default}}")
            return value or ""
        has_value = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return self.of(word, depth + 1) if has_value else ""
        if has_value:
            return value or ""
        if operator.endswith("?"):
            raise _BrokenError(f"needs {name}, which is not set; set it")
        return self.of(word, depth + 1)

    def _plain(self, name: str) -> str:
        value = self._value(name)
        if value is None:
            # A "$" in a password looks the same, and is not to be shown.
            shown = name if _PLAINLY_A_NAME.fullmatch(name) else "what stands after a $ in it"
            self.unset.append(f"{shown} is not set, and counts as empty; set it, or for a $ write $$ or single quotes")
        return value or ""

    def _value(self, name: str) -> str | None:
        if (value := self._environment.get(name)) is not None:
            self.takes.add(name)
            return value
        if (variable := self._variables.get(name)) is not None:
            self.takes |= variable.takes
            return variable.value
        return None


def _closing_brace(text: str, dollar: int) -> int:
    depth = 0
    for match in _BRACE.finditer(text, dollar):
        depth += -1 if match[0] == "}" else 1
        if depth == 0:
            return match.start()
    raise _BrokenError("does not close its ${; write ${NAME}, or $$ for a $")
