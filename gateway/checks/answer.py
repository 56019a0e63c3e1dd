"""What asking a service came to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from gateway.plan import PlannedService

Status = Literal["ok", "degraded", "down"]


@dataclass(frozen=True)
class Answer:
    """`problem` is one line for people, None when all is well; `stand_in` is what it says of itself, if it does."""

    status: Status
    version: str | None = None
    problem: str | None = None
    stand_in: bool | None = None


Check = Callable[[PlannedService, float], Awaitable[Answer]]
"""Asks a service within that many seconds. Never raises for what the service does or fails to do."""
