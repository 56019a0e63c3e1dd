"""What both ports answer to those who only look: health, the plan, the agents, the load, and all of it as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from gateway import SERVICE, VERSION, agents
from gateway.access import SEES_DETAILS, rights_of
from gateway.agents import Definition, Outlook
from gateway.allowance import allowance
from gateway.errors import ApiError, ErrorAnswer
from gateway.health import HealthBoard, Look
from gateway.issuer import Issuer
from gateway.models.names import LOCAL, NO_MODEL
from gateway.models.providers import Providers
from gateway.plan import Plan
from gateway.rights import AGENTS, Rights
from gateway.run_routes import NO_BUFFERING, link, refusals, stream, visible
from gateway.runs.desk import Desk
from gateway.runs.service import RunService
from gateway.runs.shared import Shared
from gateway.runs.similar import SimilarRuns
from gateway.runs.ways import Unanswerable, Ways
from gateway.servers import McpServers, ServerBoard

STREAM_SECONDS = 2.0


def read_routes(
    *,
    plan: Plan,
    board: HealthBoard,
    servers: ServerBoard,
    desk: Desk,
    shared: Shared,
    similar: SimilarRuns,
    service: RunService,
    ways: Ways,
    providers: Providers,
    issuer: Issuer | None,
    stopping: asyncio.Event,
) -> APIRouter:
    router = APIRouter()
    inspect = partial(look_at, plan, ways)

    def described(rights: Rights) -> list[dict[str, Any]]:
        found = agents.describe(plan, inspect(servers.tool_names()))
        return [one for one in found if rights.allows(AGENTS, one["id"])]

    @router.get("/health", summary="Is the process alive?")
    async def health() -> dict[str, str]:
        return {"status": "ok", "service": SERVICE, "version": VERSION}

    @router.get("/ready", summary="May requests be sent here?", responses={503: {"model": ErrorAnswer}})
    async def ready() -> dict[str, str]:
        # Only what sets this replica apart counts: a neighbour that is down is down for all of them.
        if stopping.is_set():
            raise ApiError(503, "stopping", "this replica is ending")
        return {"status": "ok", "service": SERVICE, "version": VERSION}

    @router.get("/api/health/detailed", summary="Every service, asked now; only the status for who has no token")
    async def detailed(request: Request) -> dict[str, Any]:
        health = await details()
        return health if getattr(request.state, SEES_DETAILS) else {"status": health["status"]}

    async def details() -> dict[str, Any]:
        look = (await board.look()).to_json()
        if issuer is not None and issuer.problem is not None and look["status"] == "ok":
            look["status"] = "degraded"
        return {
            **look,
            "limits": load(desk),
            "cache": {"problem": shared.problem},
            "sessions": {"problem": shared.problem},
            "similar": {"problem": similar.problem, "embedder": similar.embedder},
            "models": models_now(plan, providers),
            "oauth": None if issuer is None else {"issuer": issuer.oauth.issuer, "problem": issuer.problem},
        }

    @router.get("/api/discovery/status", summary="The deployed plan, and what is true now", responses=refusals(401))
    async def discovery() -> dict[str, Any]:
        return compare(plan, await board.look())

    @router.get(
        "/api/agents/available",
        summary="The agents, and where each comes from",
        responses={
            200: {"links": {"run": link("/api/agents/{agent}/runs", "post", agent="$response.body#/agents/0/id")}},
            **refusals(401),
        },
    )
    async def available(request: Request) -> dict[str, Any]:
        if names_tools(plan):
            await servers.look()
        return {"agents": described(rights_of(request))}

    @router.get("/api/mcp/servers", summary="The MCP servers, asked now, with their tools", responses=refusals(401))
    async def mcp_servers(request: Request) -> McpServers:
        return (await servers.look()).seen_by(rights_of(request))

    @router.get(
        "/api/events",
        summary="All of this again and again, as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **refusals(401)},
    )
    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(
            stream(states(rights_of(request))), media_type="text/event-stream", headers=NO_BUFFERING
        )

    async def states(rights: Rights) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        while not stopping.is_set():
            recent = visible(await service.recent(), rights)
            yield (
                "state",
                {
                    "health": await details(),
                    "discovery": await discovery(),
                    # As the servers were last heard: a look every 2 s would be a load on them.
                    "agents": described(rights),
                    "runs": [record.model_dump(exclude={"output", "steps"}) for record in recent],
                },
            )
            try:
                async with asyncio.timeout(STREAM_SECONDS):
                    await stopping.wait()
            except TimeoutError:
                continue

    return router


def load(desk: Desk) -> dict[str, Any]:
    """How many agents run and wait, against the limits."""
    standing = desk.standing
    return {
        "scope": "all replicas" if desk.problem is None else "this replica",
        "problem": desk.problem,
        "total": {"running": sum(standing.running.values()), "limit": desk.limits.total},
        "models": {
            model: {"running": standing.running.get(model, 0), "limit": limit}
            for model, limit in desk.limits.models.items()
        },
        "queue": {"waiting": standing.waiting, "limit": desk.limits.queue},
    }


def models_now(plan: Plan, providers: Providers) -> dict[str, Any]:
    """What agents can say, who has a model, and what is wrong with either."""
    models = plan.models
    nothing = not models.names and not models.providers and models.local is None
    problems = [*([models.problem or NO_MODEL] if nothing else []), *providers.problems.values()]
    return {
        "problem": "; ".join(problems) or None,
        "names": dict(models.names),
        "providers": {
            name: {"problem": providers.problems.get(name)}
            for name in (*sorted(models.providers), *([LOCAL] if models.local else []))
        },
        "local": None if models.local is None else {"title": models.local.title, "models": list(models.local.names)},
    }


def names_tools(plan: Plan) -> bool:
    """Whether an agent names a tool of a server, so that the servers have to be asked whether they have it."""
    for agent in plan.agents.values():
        try:
            definition = agents.read_definition(agent)
        except agents.DefinitionError:
            continue
        if allowance(definition, plan.used("mcp")).exact:
            return True
    return False


def look_at(plan: Plan, ways: Ways, tools: Mapping[str, Collection[str]]) -> Callable[[str, Definition], Outlook]:
    """How an agent would be answered now; `tools` are those that each server was last heard to have."""

    def outlook(agent: str, definition: Definition) -> Outlook:
        allowed = allowance(definition, plan.used("mcp"))
        try:
            way = ways.choose(agent, definition)
        except Unanswerable as error:
            return Outlook(None, allowed.missing_tools(tools), str(error))
        # One tool answers: it has none of its own.
        missing = allowed.missing_tools(tools) if way.answered_by is not None else []
        return Outlook(way.answered_by, missing, None)

    return outlook


def compare(plan: Plan, look: Look) -> dict[str, Any]:
    """The plan beside what the services said; `differs` where they do not agree."""
    services = {}
    for name, planned in plan.services.items():
        now = look.services[name]
        services[name] = {
            "planned": planned.model_dump(include={"action", "source", "endpoint", "reason", "stand_in"}),
            "now": {"status": now.status, "version": now.version, "problem": now.problem, "since": now.since},
            "differs": now.differs,
        }
    return {
        "project": plan.project,
        "stack": plan.stack,
        "at": look.at,
        "differs": any(service["differs"] for service in services.values()),
        "services": services,
        "limits": plan.limits.model_dump(),
    }
