"""Running agents over HTTP: one answer at the end, or a stream of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from starlette.responses import Response, StreamingResponse

from gateway.access import CALLER, check_agent, rights_of
from gateway.errors import ErrorAnswer
from gateway.middleware import HOLD
from gateway.rights import AGENTS, Rights
from gateway.runs.record import RunRecord
from gateway.runs.run import Question, Run
from gateway.runs.service import RunService

MAX_INPUT_CHARACTERS = 200_000
KEEP_ALIVE_SECONDS = 10.0

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Agent = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorAnswer} for status in statuses}


def link(path: str, method: str, **parameters: str) -> dict[str, Any]:
    """An OpenAPI link: what of this answer names what another operation is asked about."""
    escaped = path.replace("~", "~0").replace("/", "~1")
    return {"operationRef": f"#/paths/{escaped}/{method}", "parameters": parameters}


def _encodable(text: str) -> str:
    # JSON may hold half of a surrogate pair (`"\\ud800"`), which no UTF-8 text can.
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("not valid Unicode: a surrogate stands alone") from error
    return text


Text = Annotated[str, AfterValidator(_encodable)]
SessionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def _all_encodable(arguments: dict[str, Any]) -> dict[str, Any]:
    # Python reads NaN, which is no JSON and which no MCP server would take.
    _encodable(json.dumps(arguments, ensure_ascii=False, allow_nan=False))
    return arguments


class RunRequest(BaseModel):
    """`session` names a conversation to go on with; `arguments` go to the MCP tool beside the gateway's own."""

    input: Text = Field(min_length=1, max_length=MAX_INPUT_CHARACTERS)
    session: SessionName | None = None
    arguments: Annotated[dict[str, Any], AfterValidator(_all_encodable)] = Field(default_factory=dict)


class RecentRuns(BaseModel):
    runs: list[RunRecord]


def visible(records: Iterable[RunRecord], rights: Rights) -> list[RunRecord]:
    """The runs of agents that somebody with such rights may run."""
    return [record for record in records if rights.allows(AGENTS, record.agent)]


def run_routes(service: RunService) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/api/agents/{agent}/runs",
        summary="Run an agent",
        response_model=RunRecord,
        responses={
            200: {
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
                "links": {
                    "record": link("/api/runs/{run}", "get", run="$response.body#/id"),
                    "cancel": link("/api/runs/{run}/cancel", "post", run="$response.body#/id"),
                },
            },
            **refusals(400, 401, 403, 404, 408, 409, 413, 422, 429, 503),
        },
    )
    async def start(
        agent: Agent,
        body: RunRequest,
        request: Request,
        accept: Annotated[str, Header()] = "",
        idempotency_key: Annotated[str | None, Header(max_length=128, min_length=1)] = None,
    ) -> Response | RunRecord:
        check_agent(request, agent)
        caller, hold = request.scope["state"][CALLER], request.scope["state"][HOLD]
        question = Question(caller, agent, body.input, body.session, body.arguments, idempotency_key)
        run = await service.start(question, hold)
        if isinstance(run, Run):
            # Whoever asked may look for the record later.
            run.keep()
        if "text/event-stream" in accept and isinstance(run, Run):
            return StreamingResponse(stream(run.events()), media_type="text/event-stream", headers=NO_BUFFERING)
        return await run.ended() if isinstance(run, Run) else run

    @router.get("/api/runs/{run}", summary="A run's record", responses=refusals(401, 403, 404, 422))
    async def get(run: Id, request: Request) -> RunRecord:
        record = await service.get(run)
        check_agent(request, record.agent)
        return record

    @router.post("/api/runs/{run}/cancel", summary="End a run", responses=refusals(401, 403, 404, 422))
    async def cancel(run: Id, request: Request) -> RunRecord:
        check_agent(request, (await service.get(run)).agent)
        return await service.cancel(run)

    @router.get("/api/runs", summary="The latest runs of all replicas", responses=refusals(401))
    async def recent(request: Request) -> RecentRuns:
        seen = visible(await service.recent(), rights_of(request))
        return RecentRuns(runs=[record.model_copy(update={"output": None}) for record in seen])

    return router


NO_BUFFERING = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def stream(events: AsyncIterator[tuple[str, dict[str, Any]]]) -> AsyncIterator[str]:
    """Server-sent events, with a comment now and then so that nothing in between gives the connection up."""
    following = aiter(events)
    waiting: asyncio.Future[tuple[str, dict[str, Any]]] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(following))
            done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield ": still here\n\n"
                continue
            try:
                name, data = waiting.result()
            except StopAsyncIteration:
                return
            waiting = None
            yield f"event: {name}\ndata: {json.dumps(data)}\n\n"
    finally:
        if waiting is not None:
            waiting.cancel()
