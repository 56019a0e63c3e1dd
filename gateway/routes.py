"""What both ports answer: health, the plan, the agents."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway import SERVICE, VERSION, agents
from gateway.health import HealthBoard
from gateway.plan import Plan


def read_routes(plan: Plan, board: HealthBoard) -> APIRouter:
    """The routes that only look."""
    router = APIRouter()

    @router.get("/health", summary="Is the process alive?")
    async def health() -> dict[str, str]:
        return {"status": "ok", "service": SERVICE, "version": VERSION}

    @router.get("/api/health/detailed", summary="Every service, asked now")
    async def detailed() -> dict[str, Any]:
        return (await board.look()).to_json()

    @router.get("/api/discovery/status", summary="The deployed plan, and what is true now")
    async def discovery() -> dict[str, Any]:
        look = await board.look()
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

    @router.get("/api/agents/available", summary="The agents, and where each comes from")
    async def available() -> dict[str, Any]:
        return {"agents": agents.describe(plan)}

    return router
