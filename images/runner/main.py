"""Speaks HTTP for MCP servers that speak stdio only: `/servers/<name>/mcp`, and `/health`. Cells run them (cell.py).

mcp-proxy's own command ends with the first server that can't be started and answers `/status` whatever lives; so its
proxy is used here as a library, one for each server, and one that fails costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from doors import Door, doors_of
from hosted import Hosted, Specification
from json_lines import log_as
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

SECRETS = Path(os.environ.get("RUNNER_SECRETS", "/run/promptcraft/secrets"))
PREFIX = "server-"
SUFFIX = ".json"
DOORS = Path(os.environ.get("RUNNER_DOORS_FILE", "/run/promptcraft/doors.json"))
OWN_HOSTS = ("runner", "localhost", "127.0.0.1", "[::1]")
# The longest that whoever deploys is kept waiting for servers that take their time.
STARTING_SECONDS = 100.0


def hosted_servers(doors: list[Door]) -> dict[str, Hosted]:
    """The servers by name, each from its secret file, behind its container's door."""
    security = TransportSecuritySettings(
        allowed_hosts=[*OWN_HOSTS, *(f"{host}:*" for host in OWN_HOSTS)],
        allowed_origins=["http://localhost:*", "http://127.0.0.1:*"],
    )
    return {
        name: Hosted(Specification.read(name, SECRETS / f"{PREFIX}{name}{SUFFIX}"), door, security)
        for door in doors
        for name in door.servers
    }


def build_app(doors: list[Door]) -> Starlette:
    """The application; its lifespan is that of the servers."""
    patience = asyncio.Event()
    servers = hosted_servers(doors)

    async def health(request: Request) -> Response:
        """503 while a server is at its first attempt, so that a deployment ends when all have been tried."""
        starting = not patience.is_set() and any(not server.attempted.is_set() for server in servers.values())
        body = {
            "status": "starting" if starting else "ok",
            "service": "runner",
            "servers": {name: server.told() for name, server in servers.items()},
        }
        return JSONResponse(body, status_code=503 if starting else 200)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for door in doors:
            await door.listen()
        tasks = [asyncio.create_task(server.keep(), name=name) for name, server in servers.items()]
        asyncio.get_running_loop().call_later(STARTING_SECONDS, patience.set)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    routes: list[BaseRoute] = [Route("/health", health)]
    routes += [Route(f"/servers/{name}/mcp", server) for name, server in servers.items()]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    log_as("runner")
    for chatty in ("mcp", "mcp_proxy", "httpx", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    uvicorn.run(
        build_app(doors_of(DOORS)),
        host=os.environ.get("HOST", "0.0.0.0"),
        port=int(os.environ.get("PORT", "8000")),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
