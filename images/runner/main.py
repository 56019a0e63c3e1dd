"""Runs MCP servers that speak stdio only, and speaks HTTP for them: `/servers/<name>/mcp`, and `/health`.

mcp-proxy's own command ends with the first server that can't be started and answers `/status` whatever lives; so its
proxy is used here as a library, one for each server, and one that fails costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from hosted import Hosted, Specification
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

SECRETS = Path(os.environ.get("RUNNER_SECRETS", "/run/promptcraft/secrets"))
PREFIX = "server-"
SUFFIX = ".json"
PUBLIC_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
AUTHORITIES = Path("/tmp/authorities.pem")
OWN_HOSTS = ("runner", "localhost", "127.0.0.1", "[::1]")
# The longest that whoever deploys is kept waiting for servers that take their time.
STARTING_SECONDS = 100.0


class JsonLines(logging.Formatter):
    """One JSON object a line, as every service of the stack logs."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname.lower(), "service": "runner"}
        own = {
            name: record.__dict__[name] for name in ("server", "version", "problem", "line") if hasattr(record, name)
        }
        return json.dumps({**line, "message": record.getMessage(), **own})


def hosted_servers() -> dict[str, Hosted]:
    """The servers by name, each from its secret file."""
    security = TransportSecuritySettings(
        allowed_hosts=[*OWN_HOSTS, *(f"{host}:*" for host in OWN_HOSTS)],
        allowed_origins=["http://localhost:*", "http://127.0.0.1:*"],
    )
    files = {path.name.removeprefix(PREFIX).removesuffix(SUFFIX): path for path in SECRETS.glob(f"{PREFIX}*{SUFFIX}")}
    return {name: Hosted(Specification.read(name, file), security) for name, file in sorted(files.items())}


def build_app(servers: dict[str, Hosted]) -> Starlette:
    """The application; its lifespan is that of the servers."""
    patience = asyncio.Event()

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
        tasks = [asyncio.create_task(server.keep(), name=name) for name, server in servers.items()]
        asyncio.get_running_loop().call_later(STARTING_SECONDS, patience.set)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    routes: list[BaseRoute] = [Route("/health", health)]
    routes += [Route(f"/servers/{name}/mcp", server) for name, server in servers.items()]
    return Starlette(routes=routes, lifespan=lifespan)


def trust() -> None:
    """Let programs that know one file of authorities only (uv, Python) trust the deployment's as Node does."""
    extra = os.environ.get("NODE_EXTRA_CA_CERTS")
    if extra:
        AUTHORITIES.write_bytes(PUBLIC_AUTHORITIES.read_bytes() + b"\n" + Path(extra).read_bytes())
        os.environ["SSL_CERT_FILE"] = str(AUTHORITIES)


def main() -> None:
    trust()
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, handlers=[handler])
    for chatty in ("mcp", "mcp_proxy", "httpx", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    uvicorn.run(
        build_app(hosted_servers()),
        host=os.environ.get("HOST", "0.0.0.0"),
        port=int(os.environ.get("PORT", "8000")),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
