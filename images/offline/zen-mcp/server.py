"""Stands in for the Zen MCP server where neither an image registry nor its repository can be reached.

It speaks MCP (both eras, by the official SDK) on `/mcp` and answers `/health`. It calls no model: every answer
says that it is a stand-in's, and equal questions get equal answers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

NAME = "zen-mcp-stand-in"
VERSION = "1.0.0"
TOOLS = {
    "chat": "Answers a prompt with a fixed text; no model is asked.",
    "listmodels": "Lists the names that `chat` takes as a model.",
    "version": "Says which server this is.",
}
MODELS = ("opus", "sonnet", "haiku")
MAX_BODY_BYTES = 1024 * 1024
TOKEN_FILE = Path(os.environ.get("ZEN_MCP_TOKEN_FILE", "/run/promptcraft/secrets/zen-mcp"))

# A page in a browser can send requests to any address under a name of its own choice (DNS rebinding); the Host
# header tells. `MCP_ALLOWED_HOSTS` adds names, separated by commas; `:*` stands for any port.
OWN_HOSTS = ("zen-mcp", "localhost", "127.0.0.1", "[::1]")


class JsonLines(logging.Formatter):
    """One JSON object a line, as every service of the stack logs."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname.lower(), "service": NAME, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({"time": self.formatTime(record), **line})


class BearerOnly:
    """Lets MCP requests through only with the right bearer token; `/health` and `/metrics` stay open."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ("/health", "/metrics"):
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": {"code": "unauthorized", "message": "a bearer token is needed"}},
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)


def build_server() -> MCPServer:
    """The MCP server with its three tools and the health route."""
    server = MCPServer(name=NAME, title="Zen MCP (stand-in)", version=VERSION)

    @server.tool(description=TOOLS["chat"], structured_output=False)
    def chat(prompt: str, model: str = "sonnet", working_directory_absolute_path: str | None = None) -> str:
        # The real tool asks for a working directory; taken so that callers need not know which server answers.
        digest = hashlib.sha256(f"{model}\0{prompt}".encode()).hexdigest()[:12]
        first_line = prompt.strip().splitlines()[0][:200] if prompt.strip() else ""
        return (
            f"[stand-in] No model was asked: this server stands in for Zen MCP. "
            f"Model '{model}', {len(prompt)} characters, digest {digest}. First line: {first_line}"
        )

    @server.tool(description=TOOLS["listmodels"], structured_output=False)
    def listmodels() -> str:
        return "[stand-in] " + ", ".join(MODELS)

    @server.tool(description=TOOLS["version"], structured_output=False)
    def version() -> str:
        return f"{NAME} {VERSION}"

    @server.custom_route("/health", methods=["GET"])  # type: ignore[untyped-decorator]
    async def health(request: Request) -> Response:
        body: dict[str, Any] = {"status": "ok", "service": "zen-mcp", "stand_in": True, "version": VERSION}
        return JSONResponse(body)

    @server.custom_route("/metrics", methods=["GET"])  # type: ignore[untyped-decorator]
    async def metrics(request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return server


def allowed_hosts() -> list[str]:
    """Values of the Host header that are answered, with and without a port."""
    more = [host.strip() for host in os.environ.get("MCP_ALLOWED_HOSTS", "").split(",") if host.strip()]
    return [*OWN_HOSTS, *(f"{host}:*" for host in OWN_HOSTS), *more]


def build_app() -> ASGIApp:
    """The whole application; asks for a bearer token when there is a token file with something in it."""
    app: ASGIApp = build_server().streamable_http_app(
        # Nothing here lives longer than a request, so a restart costs no client its session.
        stateless_http=True,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=TransportSecuritySettings(
            allowed_hosts=allowed_hosts(),
            allowed_origins=["http://localhost:*", "http://127.0.0.1:*"],
        ),
    )
    token = TOKEN_FILE.read_text().strip() if TOKEN_FILE.is_file() else ""
    return BearerOnly(app, token) if token else app


def main() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, handlers=[handler])
    if level != "DEBUG":
        # The SDK reports the end of every request as the end of a session.
        logging.getLogger("mcp").setLevel(logging.WARNING)
    uvicorn.run(
        build_app(),
        host=os.environ.get("HOST", "0.0.0.0"),
        port=int(os.environ.get("PORT", "8000")),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
