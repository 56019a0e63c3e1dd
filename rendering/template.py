"""Texts that others read (nginx, a shell) as files in their own language, where `@NAME@` stands for a value.

`##` begins a remark for the template's reader. It is left out up to the first character of the next line, so that one
line of the text, such as a condition in shell, may be several lines of its template.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"

_REMARK = re.compile(r"(?<!\S)##.*\n\s*")
_VALUE = re.compile(r"^(?P<indent> *)@(?P<lines>[A-Z_]+)@$|@(?P<word>[A-Z_]+)@", re.MULTILINE)


class Template:
    """A file's text, read once; without the line break at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = _REMARK.sub("", path.read_text(encoding="utf-8")).removesuffix("\n")

    def fill(self, **values: str | int) -> str:
        """The text with the values. One whose `@NAME@` is alone on its line may be several lines, and each is indented
        as that line is. Raises `LookupError` where a name has no value, or a value no name.
        """
        names = {found["lines"] or found["word"] for found in _VALUE.finditer(self._text)}
        if names != values.keys():
            raise LookupError(f"{self._path}: {', '.join(sorted(names ^ values.keys()))}: not both a name and a value")
        return _VALUE.sub(lambda found: _value(found, values), self._text)


def _value(found: re.Match[str], values: dict[str, str | int]) -> str:
    if found["lines"]:
        return textwrap.indent(str(values[found["lines"]]), found["indent"])
    return str(values[found["word"]])
