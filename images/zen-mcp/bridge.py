"""The real Zen MCP server over HTTP: a stdio child behind mcp-proxy, MCP on `/mcp`, health on `/health`.

mcp-proxy's own command answers `/status` whether or not its child lives, checks neither Host nor token, and has no
`/health`; so its proxy is mounted here, where health asks the child. `python bridge.py COMMAND [ARGUMENT ...]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import sys
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from mcp.types import CONNECTION_CLOSED, CallToolRequest, CallToolResult, ErrorData, ServerResult
from mcp_proxy.proxy_server import create_proxy_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

TOKEN_FILE = Path(os.environ.get("ZEN_MCP_SECRETS", "/run/promptcraft/secrets")) / "zen-mcp"
OWN_HOSTS = ("zen-mcp", "localhost", "127.0.0.1", "[::1]")
PING_SECONDS = 2.0
WATCH_SECONDS = 5.0
CHILD_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)


def child_environment() -> dict[str, str]:
    """This environment, without the bridge's own packages: the child has others."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # The root is read-only; what the server writes by itself goes to the tmpfs.
    return {**own, "HOME": "/tmp"}


def transport_security() -> TransportSecuritySettings:
    more = [host.strip() for host in os.environ.get("MCP_ALLOWED_HOSTS", "").split(",") if host.strip()]
    return TransportSecuritySettings(
        allowed_hosts=[*OWN_HOSTS, *(f"{host}:*" for host in OWN_HOSTS), *more],
        allowed_origins=["http://localhost:*", "http://127.0.0.1:*"],
    )


def container_figures() -> str:
    """Memory and CPU time of all processes here, bridge and server, under the names of a process' own (proc(5))."""
    ticks, pages = 0, 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # a process may end meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    seconds, memory = ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
    return (
        f"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {seconds}\n"
        f"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {memory}\n"
    )


def build_app(session: ClientSession, manager: StreamableHTTPSessionManager) -> Starlette:
    token = TOKEN_FILE.read_text().strip() if TOKEN_FILE.is_file() else ""
    expected = f"Bearer {token}".encode()

    async def health(request: Request) -> Response:
        try:
            async with asyncio.timeout(PING_SECONDS):
                await session.send_ping()
        except (McpError, TimeoutError, *CHILD_GONE):
            reason = "the server behind the bridge does not answer"
            return JSONResponse({"status": "down", "service": "zen-mcp", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ok", "service": "zen-mcp"})

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(container_figures())

    async def mcp(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if token and not hmac.compare_digest(given, expected):
            refusal = JSONResponse(
                {"error": {"code": "unauthorized", "message": "a bearer token is needed"}},
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
            return
        await manager.handle_request(scope, receive, send)

    class Endpoint:
        # A class, because Starlette takes a plain function for a handler of requests.
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await mcp(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    routes = [
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/mcp", Endpoint()),
        Mount("/mcp", Endpoint()),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def is_gone(error: Exception) -> bool:
    """Whether the server behind has ended, as the SDK tells it. A slow server is not a dead one."""
    # The SDK's word for a pipe that closed while it waited for the answer.
    return isinstance(error, CHILD_GONE) or "Connection closed" in str(error)


def tell_losses(proxy: Server[object], session: ClientSession) -> None:
    """Make a call that lost its server an error of the protocol.

    mcp-proxy has it answered as if the tool had said that it failed, and whoever hears that may call it once more. But
    the tool may have acted.
    """
    answer, call = proxy.request_handlers.get(CallToolRequest), session.call_tool
    lost = ContextVar("lost", default=False)

    async def remembering(*arguments: Any, **more: Any) -> CallToolResult:
        try:
            return await call(*arguments, **more)
        except (McpError, *CHILD_GONE) as error:
            lost.set(is_gone(error))
            raise

    async def telling(request: CallToolRequest) -> ServerResult:
        assert answer is not None
        answered = await answer(request)
        if lost.get():
            raise McpError(ErrorData(code=CONNECTION_CLOSED, message="Connection closed"))
        return answered

    if answer is not None:
        session.call_tool = remembering  # type: ignore[method-assign]
        proxy.request_handlers[CallToolRequest] = telling


async def until_gone(session: ClientSession) -> None:
    """Returns when the server has ended."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            async with asyncio.timeout(PING_SECONDS):
                await session.send_ping()
        except (McpError, *CHILD_GONE) as error:
            if is_gone(error):
                return
        except TimeoutError:
            continue


async def serve(command: str, arguments: list[str]) -> int:
    """Serves until told to stop (0) or until the child ends (1: the engine's restart policy brings a new one)."""
    child = StdioServerParameters(command=command, args=arguments, env=child_environment(), cwd="/tmp")
    async with stdio_client(child) as streams, ClientSession(*streams) as session:
        proxy = await create_proxy_server(session)
        tell_losses(proxy, session)
        manager = StreamableHTTPSessionManager(proxy, stateless=True, security_settings=transport_security())
        config = uvicorn.Config(
            build_app(session, manager),
            host=os.environ.get("HOST", "0.0.0.0"),
            port=int(os.environ.get("PORT", "8000")),
            log_level=os.environ.get("LOG_LEVEL", "info").lower(),
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        watching = asyncio.create_task(until_gone(session))
        serving = asyncio.create_task(server.serve())
        await asyncio.wait({watching, serving}, return_when=asyncio.FIRST_COMPLETED)
        gone = watching.done()
        watching.cancel()
        server.should_exit = True
        await serving
        return 1 if gone else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: bridge.py COMMAND [ARGUMENT ...]")
    sys.exit(asyncio.run(serve(sys.argv[1], sys.argv[2:])))
