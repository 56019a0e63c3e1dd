"""The agents of the plan as tools of the endpoint: `agent__NAME` runs one, as the API does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent, Tool
from pydantic import ValidationError

from gateway import agents
from gateway.agents import Definition, Outlook
from gateway.endpoint.names import exposed
from gateway.errors import ApiError
from gateway.plan import Plan
from gateway.rights import AGENTS, Rights
from gateway.room import Hold
from gateway.run_routes import RunRequest
from gateway.runs.record import RunRecord
from gateway.runs.run import Question, Run
from gateway.runs.service import RunService

_INPUT = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "description": "What the agent is asked."},
        "session": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]{1,64}$",
            "description": "Names a conversation to go on with.",
        },
    },
    "required": ["input"],
    "additionalProperties": False,
}


class Progress(Protocol):
    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...


class AgentTools:
    """`outlook` says what would answer for an agent now."""

    def __init__(
        self, plan: Plan, service: RunService, outlook: Callable[[], Callable[[str, Definition], Outlook]]
    ) -> None:
        self._plan = plan
        self._service = service
        self._outlook = outlook

    def listed(self, rights: Rights) -> dict[str, Tool]:
        """Those that can run and may be seen, by the tool's name."""
        described = agents.describe(self._plan, self._outlook())
        return {
            name: Tool(name=name, title=one["name"], description=one["description"], input_schema=_INPUT)
            for one in described
            if one["available"] and rights.allows(AGENTS, one["id"])
            for name in (exposed(AGENTS, one["id"]),)
        }

    def find(self, name: str, rights: Rights) -> str | None:
        """The agent that a tool's name stands for; None where there is none that may be seen."""
        return next(
            (agent for agent in self._plan.agents if exposed(AGENTS, agent) == name and rights.allows(AGENTS, agent)),
            None,
        )

    async def call(
        self, agent: str, arguments: Mapping[str, Any], caller: str, hold: Hold, progress: Progress
    ) -> CallToolResult:
        """Run the agent. Whoever goes away cancels the run, unless somebody else waits for it as well."""
        try:
            request = RunRequest.model_validate(
                {key: arguments[key] for key in ("input", "session") if key in arguments}
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise MCPError(INVALID_PARAMS, f"{where}: {first['msg']}") from error
        try:
            run = await self._service.start(Question(caller, agent, request.input, request.session), hold)
            record = await _watched(run, progress) if isinstance(run, Run) else run
        except ApiError as error:
            return CallToolResult(content=[TextContent(text=str(error.detail))], is_error=True)
        return _result(record)


async def _watched(run: Run, progress: Progress) -> RunRecord:
    steps = 0.0
    with run.awaited():
        async for name, data in run.events():
            if name == "step" and data["outcome"] is not None:
                steps += 1
                await progress(steps, None, f"{data['server']}: {data['tool']}: {data['outcome']}")
    if run.refusal is not None:
        raise run.refusal
    return run.record


def _result(record: RunRecord) -> CallToolResult:
    has_succeeded = record.status == "succeeded"
    text = record.output if has_succeeded else f"the run {record.status}: {record.error or 'without a reason'}"
    return CallToolResult(
        content=[TextContent(text=text or "")],
        is_error=not has_succeeded,
        _meta={"ai.promptcraft/run": record.id, "ai.promptcraft/cached": record.cached},
    )
