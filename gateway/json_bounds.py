"""How much a JSON text holds, told from its bytes: parsed, a megabyte of `[]` is a hundred times its size."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Python's and pydantic's own recursion end at a few hundred levels; what comes near may fail in the middle of a run.
MAX_DEPTH = 64
MAX_VALUES = 10_000
# Python needs the square of its digits' number for an integer, to read it and for each time that it is written: a
# megabyte of numbers with 4,000 digits kept a replica busy for a second each time. No number of any use is as long.
MAX_DIGITS = 100

# Possessive, so that no text makes it look twice at a byte; the last string may lack its end.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
# Begun only where a number begins, so that no text makes it look again and again at the same digits.
_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True)
class Extent:
    """`values` is how many values a text has at most; `problem` what is too much of it, in one line, None when all is
    well."""

    values: int
    problem: str | None = None


def extent(text: bytes) -> Extent:
    """What parsing `text` would make, whether or not it is valid JSON in UTF-8."""
    if b"\0" in text:
        # Python's parser would take UTF-16 and UTF-32, in which a byte is no character.
        return Extent(0, "is not JSON in UTF-8")
    values = _values(text)
    if values > MAX_DEPTH or _LONG_NUMBER.search(text):
        text = _STRING.sub(b"", text)
        values = _values(text)
    if values > MAX_VALUES:
        return Extent(values, f"has more than {MAX_VALUES} values")
    if values > MAX_DEPTH and _is_deep(text.translate(None, _ALL_BUT_BRACKETS)):
        return Extent(values, f"is nested more than {MAX_DEPTH} levels deep")
    if _LONG_NUMBER.search(text):
        return Extent(values, f"has a number of more than {MAX_DIGITS} digits")
    return Extent(values)


def _values(text: bytes) -> int:
    # A value is the first of its list or map, or comes after a comma.
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def _is_deep(brackets: bytes) -> bool:
    # More closed than opened is no JSON, and its parser stops there.
    depth = 0
    for bracket in brackets[: 2 * MAX_VALUES]:
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False
