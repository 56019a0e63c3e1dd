"""The latest calls of the endpoint, for the page and for whoever looks after it."""

from __future__ import annotations

from fastapi import APIRouter, Request

from gateway.access import CALLER_NAME, rights_of
from gateway.endpoint.audit import Audit, Calls
from gateway.run_routes import refusals


def call_routes(audit: Audit) -> APIRouter:
    router = APIRouter()

    @router.get("/api/mcp/calls", summary="The latest calls at /mcp, of all replicas", responses=refusals(401))
    async def calls(request: Request) -> Calls:
        """Of all callers for who may do everything, else the caller's own."""
        recent = await audit.recent()
        if rights_of(request).allows_everything:
            return Calls(calls=recent)
        own = request.scope["state"][CALLER_NAME]
        return Calls(calls=[call for call in recent if call.caller == own])

    return router
