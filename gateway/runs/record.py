"""What is known of one run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})


class Usage(BaseModel):
    """What a run used. `price_usd` is None where no price list knows the model, or where nothing was asked of one."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    tool_calls: int = 0
    price_usd: float | None = None


class Step(BaseModel):
    """A call of a tool in a run; `outcome` is None while it lasts.

    `invalid` was never sent, since its arguments do not fit; `unknown` may have acted.
    """

    kind: Literal["tool"] = "tool"
    server: str
    tool: str
    outcome: Literal["ok", "error", "invalid", "unknown", "cancelled"] | None = None
    duration_ms: float | None = None


class RunRecord(BaseModel):
    """Times are ISO 8601 in UTC; `duration_ms` is from the request to the end, waiting included.

    `note` says what went wrong beside a run that succeeded. `model` is what the agent says, `answered_by` the model
    that this means; `server` and `tool` are those of the one tool that answers, where no model does.
    """

    id: str
    agent: str
    status: Status
    output: str | None = None
    cached: bool = False
    duration_ms: float | None = None
    model: str
    error: str | None = None
    answered_by: str | None = None
    server: str | None = None
    tool: str | None = None
    usage: Usage = Usage()
    steps: list[Step] = []
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
