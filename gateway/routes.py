"""What both ports answer to those who only look: health, the plan, the agents, the load, and all of it as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from gateway import SERVICE, VERSION, agents
from gateway.access import SEES_DETAILS
from gateway.errors import ApiError, ErrorAnswer
from gateway.health import HealthBoard, Look
from gateway.plan import Plan
from gateway.run_routes import NO_BUFFERING, link, refusals, stream
from gateway.runs.desk import Desk
from gateway.runs.service import RunService
from gateway.runs.shared import Shared
from gateway.runs.similar import SimilarRuns
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
    stopping: asyncio.Event,
) -> APIRouter:
    router = APIRouter()

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
        return {
            **(await board.look()).to_json(),
            "limits": load(desk),
            "cache": {"problem": shared.problem},
            "sessions": {"problem": shared.problem},
            "similar": {"problem": similar.problem, "embedder": similar.embedder},
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
    async def available() -> dict[str, Any]:
        return {"agents": agents.describe(plan)}

    @router.get("/api/mcp/servers", summary="The MCP servers, asked now, with their tools", responses=refusals(401))
    async def mcp_servers() -> McpServers:
        return await servers.look()

    @router.get(
        "/api/events",
        summary="All of this again and again, as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **refusals(401)},
    )
    async def events() -> StreamingResponse:
        return StreamingResponse(stream(states()), media_type="text/event-stream", headers=NO_BUFFERING)

    async def states() -> AsyncIterator[tuple[str, dict[str, Any]]]:
        while not stopping.is_set():
            recent = await service.recent()
            yield (
                "state",
                {
                    "health": await details(),
                    "discovery": await discovery(),
                    "agents": agents.describe(plan),
                    "runs": [record.model_dump(exclude={"output"}) for record in recent],
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
