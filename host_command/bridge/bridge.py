"""One MCP server that speaks stdio, as a command of this host; mcp-proxy speaks HTTP for it on `/mcp`.

mcp-proxy's own command would show the server's arguments, which may hold keys, as its own, and answers whoever asks;
so its proxy is used here as a library. Started by `host_command/`, which gives an order (JSON) on standard input.
Ends when it is told to (0), or when the server ends (1).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import logging.handlers
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from io import TextIOWrapper
from ipaddress import ip_address, ip_network
from typing import Any, TextIO

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
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("bridge")

PING_SECONDS = 5.0
WATCH_SECONDS = 5.0
LOG_BYTES = 1024 * 1024
LINE_BYTES = 65536
LINE_CHARACTERS = 2000
LAST_WORDS_SECONDS = 1.0
CHILD_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)


@dataclass(frozen=True)
class Order:
    """What to run and for whom.

    `listener` is the inherited socket, bound to `address`; `subnet` is where the stack's containers are; `token` is for
    who asks from this host; `hidden` are texts that no log may show, the longest first.
    """

    command: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    listener: int
    address: str
    subnet: str
    hosts: list[str]
    token: str
    hidden: list[str]
    log: str


class OnlyTheStack:
    """Lets in the stack's containers, which have an address within its network, and on this host who has the token."""

    def __init__(self, app: ASGIApp, order: Order) -> None:
        self._app = app
        self._subnet, self._address = ip_network(order.subnet), ip_address(order.address)
        self._expected = f"Bearer {order.token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_let_in(scope):
            error = {"code": "forbidden", "message": "this bridge serves the containers of its stack only"}
            await JSONResponse({"error": error}, status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_let_in(self, scope: Scope) -> bool:
        sender = ip_address(scope["client"][0])
        if sender in self._subnet and sender != self._address:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._expected)


class Endpoint:
    """A class, because Starlette takes a plain function for a handler of requests."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


class WithoutSecrets(logging.Formatter):
    """Lines of the log without what is hidden, and never endless."""

    def __init__(self, hidden: list[str]) -> None:
        super().__init__("%(asctime)s %(message)s")
        self._hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for hidden in self._hidden:
            text = text.replace(hidden, "[hidden]")
        return text[:LINE_CHARACTERS]


class PrivateLog(logging.handlers.RotatingFileHandler):
    """Nobody else may read it, while the command itself keeps the user's own umask."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", opener=lambda path, flags: os.open(path, flags, 0o600))


@contextlib.contextmanager
def logged_errors() -> Iterator[TextIO]:
    """A pipe for the server's stderr, whose lines are logged."""
    readable, writable = os.pipe()

    def copy() -> None:
        with os.fdopen(readable, encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(LINE_BYTES):
                log.info("it said: %s", line.rstrip())

    # A daemon, since what the server started may keep the pipe open for longer than it lives itself.
    copying = threading.Thread(target=copy, daemon=True)
    copying.start()
    try:
        with os.fdopen(writable, "w") as errors:
            yield errors
    finally:
        copying.join(LAST_WORDS_SECONDS)


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


async def serve(order: Order) -> int:
    """Serve until told to stop (0), or until the server ends (1)."""
    child = StdioServerParameters(command=order.command, args=order.arguments, env=order.environment, cwd=order.folder)
    with logged_errors() as errors:
        async with stdio_client(child, errlog=errors) as streams, ClientSession(*streams) as session:
            proxy = await create_proxy_server(session)
            tell_losses(proxy, session)
            security = TransportSecuritySettings(allowed_hosts=order.hosts)
            manager = StreamableHTTPSessionManager(
                proxy, json_response=True, stateless=True, security_settings=security
            )
            log.info("ready: %s %s", proxy.name, proxy.version or "")
            app = OnlyTheStack(Starlette(routes=[Route("/mcp", Endpoint(manager))]), order)
            config = uvicorn.Config(
                app, lifespan="off", log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=2
            )
            server = uvicorn.Server(config)
            # uvicorn raises the signal that ended it once more; the server behind must be ended in good order first.
            signal.signal(signal.SIGTERM, lambda *_: None)
            async with manager.run():
                with socket.socket(fileno=order.listener) as listener:
                    watching = asyncio.create_task(until_gone(session))
                    serving = asyncio.create_task(server.serve(sockets=[listener]))
                    await asyncio.wait({watching, serving}, return_when=asyncio.FIRST_COMPLETED)
                    gone = watching.done()
                    watching.cancel()
                    server.should_exit = True
                    await serving
    log.info("%s", "the command ended by itself" if gone else "stopped")
    return 1 if gone else 0


def innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> int:
    order = Order(**json.load(sys.stdin))
    handler = PrivateLog(order.log, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(WithoutSecrets(order.hidden))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("mcp", "mcp_proxy", "httpx", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return asyncio.run(serve(order))
    except Exception as error:  # noqa: BLE001 - whatever a command does ends in one line of the log
        reason = innermost(error)
        log.error("%s", " ".join(str(reason).split()) or type(reason).__name__)
        return 1


if __name__ == "__main__":
    sys.exit(main())
