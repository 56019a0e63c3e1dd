"""The order in which a part is had: a tuple of ways, the first that leads there wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from toolchain.failure import SetupError

Part = TypeVar("Part")


@dataclass(frozen=True)
class Way(Generic[Part]):
    """One way to have a part. `attempt` returns None where this way does not lead there on this machine."""

    how: str
    attempt: Callable[[], Part | None]


@dataclass(frozen=True)
class Obtained(Generic[Part]):
    """A part, and the way it came."""

    part: Part
    how: str


def first(name: str, ways: Sequence[Way[Part]]) -> Obtained[Part]:
    """Try `ways` in order. Raises `SetupError` where none leads to the part."""
    for way in ways:
        part = way.attempt()
        if part is not None:
            return Obtained(part, way.how)
    raise SetupError(f"{name} can't be had on this machine; tried: {', '.join(way.how for way in ways)}")
