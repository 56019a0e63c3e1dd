"""How an agent's runs are answered: by one tool, or by a model with tools. What both have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.agents import Definition
from gateway.runs.record import Step, Usage
from gateway.runs.sessions import Turn


class AnswerError(Exception):
    """There is no answer; the text is one line for people."""


class Told(Protocol):
    """What a run is told while it is answered."""

    def attempted(self) -> None:
        """Before each try. Raises `CancelledError` where the run was stopped meanwhile."""

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """How far a tool is, in the tool's own unit."""

    def text(self, more: str) -> None:
        """The answer as it comes."""

    def step(self, step: Step) -> None:
        """A tool is called (no outcome yet), or has been."""

    async def used(self, usage: Usage) -> None:
        """What the run has used up to now."""


@dataclass(frozen=True)
class Answer:
    """`note` says what was missing while it was made; such an answer is not kept for others."""

    output: str
    note: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A question made ready. `makes` is all that makes the answer, as JSON; `carry_out` raises `AnswerError`."""

    makes: Sequence[Any]
    carry_out: Callable[[Told], Awaitable[Answer]]


class Way(Protocol):
    """`answered_by` is the model as `provider:model`; `server` and `tool` are those of the one tool that answers."""

    @property
    def server(self) -> str | None: ...

    @property
    def tool(self) -> str | None: ...

    @property
    def answered_by(self) -> str | None: ...

    def refusal(self, arguments: Mapping[str, Any]) -> str | None:
        """Why a caller can't give these arguments, in one line; None where it can."""

    def prepare(
        self, definition: Definition, turns: Sequence[Turn], text: str, arguments: Mapping[str, Any]
    ) -> Prepared: ...
