"""What is known of one run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})


class RunRecord(BaseModel):
    """Times are ISO 8601 in UTC; `duration_ms` is from the request to the end, waiting included.

    `note` says what went wrong beside a run that succeeded.
    """

    id: str
    agent: str
    status: Status
    output: str | None = None
    cached: bool = False
    duration_ms: float | None = None
    model: str
    error: str | None = None
    server: str
    tool: str
    attempts: int = 0
    session: str | None = None
    note: str | None = None
    replica: str
    created: str
    started: str | None = None
    ended: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
