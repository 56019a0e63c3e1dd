"""The servers' tools over HTTP: what each is, how it differs from what was accepted, and what is withheld for it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from gateway.access import rights_of
from gateway.errors import ApiError
from gateway.pins.guard import Judged
from gateway.pins.judge import Change, Kind
from gateway.pins.marks import Mark
from gateway.pins.tool_set import Introduced, ToolSet
from gateway.rights import Rights
from gateway.run_routes import refusals
from gateway.servers import McpServer, ServerBoard

# What an answer names of each server; all of it stands at the server's own address.
MAX_SHOWN = 2000

Server = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class JudgedTool(BaseModel):
    """One tool. `reason` says why it is not served, or what is different; empty where nothing is."""

    name: str
    kind: Kind
    served: bool
    reason: str
    changes: tuple[Change, ...]
    marks: tuple[Mark, ...]


class JudgedServer(BaseModel):
    """One server. `accepted_by` is what its tools were held against: the committed `pin`, or what was seen first.

    `problem` says why it does not answer; nothing of its tools is known then. `is_whole` is false where its list did
    not come to an end, or the caller may not see all of it: then it is nothing to be accepted.
    """

    name: str
    problem: str | None
    server: Introduced | None
    accepted_by: Literal["pin", "first_seen"] | None
    is_whole: bool
    tools: list[JudgedTool]


class JudgedServers(BaseModel):
    servers: list[JudgedServer]


class JudgedWhole(JudgedServer):
    """One server with its tools as a pin keeps them, as far as the caller may see them."""

    listed: ToolSet


def tool_routes(board: ServerBoard) -> APIRouter:
    router = APIRouter()

    @router.get("/api/mcp/tools", summary="The servers' tools against what was accepted", responses=refusals(401))
    async def tools(request: Request) -> JudgedServers:
        rights = rights_of(request)
        look = await board.look()
        judged = board.judged()
        return JudgedServers(
            servers=[_shown(one, judged.get(one.name), rights) for one in look.servers if _is_seen(one, rights)]
        )

    @router.get(
        "/api/mcp/tools/{server}",
        summary="One server's tools, as a pin keeps them",
        responses=refusals(401, 404, 422, 503),
    )
    async def of_server(server: Server, request: Request) -> JudgedWhole:
        rights = rights_of(request)
        look = await board.look()
        one = next((one for one in look.servers if one.name == server and _is_seen(one, rights)), None)
        if one is None:
            raise ApiError(404, "unknown_server", "this stack uses no MCP server of that name")
        judged = board.judged().get(server)
        if judged is None:
            raise ApiError(503, "server_down", f"the server does not answer: {one.problem}")
        seen = tuple(tool for tool in judged.tools.tools if rights.allows(server, tool.name))
        shown = _shown(one, judged, rights)
        return JudgedWhole(**dict(shown), listed=judged.tools.model_copy(update={"tools": seen}))

    return router


def _is_seen(one: McpServer, rights: Rights) -> bool:
    return one.status != "omitted" and rights.allows_some_of(one.name)


def _shown(one: McpServer, judged: Judged | None, rights: Rights) -> JudgedServer:
    verdicts = [] if judged is None else [v for v in judged.verdicts.values() if rights.allows(one.name, v.tool)]
    return JudgedServer(
        name=one.name,
        problem=one.problem if judged is None else None,
        server=None if judged is None else judged.tools.server,
        accepted_by=None if judged is None else judged.accepted_by,
        is_whole=judged is not None and judged.is_whole and rights.allows_all_of(one.name),
        tools=[
            JudgedTool(
                name=verdict.tool,
                kind=verdict.kind,
                served=verdict.is_served,
                reason=verdict.reason,
                changes=verdict.changes,
                marks=verdict.marks,
            )
            for verdict in verdicts[:MAX_SHOWN]
        ],
    )
