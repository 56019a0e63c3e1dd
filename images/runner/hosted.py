"""One hosted server, spoken for: it runs in a container of its own or a shared one (cell.py), which comes to a door of
the runner's; mcp-proxy carries HTTP to its stdio."""

from __future__ import annotations

import asyncio
import json
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import doors
from anyio.abc import SocketStream
from doors import Door
from mcp.client.session import ClientSession
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from mcp.types import CONNECTION_CLOSED, CallToolRequest, CallToolResult, ErrorData, ServerResult
from mcp_proxy.proxy_server import create_proxy_server
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 30.0
# Longer than an installer may take, of which there is one at a time in a container.
INSTALL_SECONDS = 600.0
PING_SECONDS = 5.0
WATCH_SECONDS = 5.0
# Between attempts, in seconds; the last one stays.
PAUSES = (5.0, 15.0, 60.0)
MAX_BODY_BYTES = 4 * 1024 * 1024
CHILD_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)


class PackageError(Exception):
    """The package can't be had or started; the text is one line for people, with what to do."""


@dataclass(frozen=True)
class Specification:
    """What runs: `npx`, `uvx` or `docker`, and the package or image. `hidden` are texts that no log may show.

    `installs` is what a container of the runner's image is told first, `starts` what it is told once that is there;
    None where an image's own container knows both.
    """

    name: str
    program: str
    package: str
    hidden: tuple[str, ...] = ()
    installs: dict[str, Any] | None = None
    starts: dict[str, Any] | None = None

    @classmethod
    def read(cls, name: str, file: Path) -> Specification:
        """`{"program", "package", "beside", "options", "binary", "arguments", "environment"}`, as it was deployed."""
        document = json.loads(file.read_text(encoding="utf-8"))
        if "arguments" not in document:
            return cls(name, document["program"], document["package"])
        hidden = (*document["environment"].values(), *document["arguments"])
        # Longest first, so that a part of a secret is not replaced before the whole of it.
        hidden = tuple(sorted((text for text in hidden if len(text) > 3), key=len, reverse=True))
        installs = {key: document[key] for key in ("program", "package", "beside", "options", "binary")}
        starts = {key: document[key] for key in ("arguments", "environment")}
        return cls(name, document["program"], document["package"], hidden, installs, starts)

    def without_secrets(self, text: str) -> str:
        """`text` as it may be shown: one short line."""
        for hidden in self.hidden:
            text = text.replace(hidden, "[hidden]")
        return " ".join(text.split())[:300]


class Hosted:
    """Serves `/servers/<name>/mcp`; until its server answers, every call is answered with the reason why not."""

    def __init__(self, specification: Specification, door: Door, security: TransportSecuritySettings) -> None:
        self.specification = specification
        self._door = door
        self.state = "starting"
        self.problem: str | None = None
        self.version: str | None = None
        self.attempted = asyncio.Event()
        self._security = security
        self._manager: StreamableHTTPSessionManager | None = None
        self._last_words: list[str] = []

    def told(self) -> dict[str, str | None]:
        """For `/health`: what is run, and how it is."""
        return {
            "package": f"{self.specification.program}:{self.specification.package}",
            "state": self.state,
            "version": self.version,
            "problem": self.problem,
        }

    async def keep(self) -> None:
        """Start the server, and again whenever it ends, until cancelled."""
        for attempt in range(1_000_000_000):
            try:
                await self._live()
                self._down("it ended by itself")
            except PackageError as error:
                self._down(str(error))
            except Exception as error:  # noqa: BLE001 - whatever one package does must not end the others
                self._down(_innermost(error))
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])

    async def _live(self) -> None:
        """Serve until the server is gone. Raises `PackageError`, or whatever the SDK makes of a broken server."""
        self._last_words = []
        try:
            stream = await self._door.come(self.specification.name)
        except TimeoutError:
            raise PackageError(f"its container {self._door.name} does not come; see its log") from None
        async with stream:
            if self.specification.installs is not None:
                await self._install(stream)
                await doors.say(stream, self.specification.starts or {})
            async with doors.speaking(stream, self._last_words) as streams:
                await self._serve(streams)

    async def _install(self, stream: SocketStream) -> None:
        with self._door.installing():
            await doors.say(stream, self.specification.installs or {})
            async with asyncio.timeout(INSTALL_SECONDS):
                told = await doors.hear(stream)
        if "problem" in told:
            raise PackageError(str(told["problem"]))
        self._door.installed()

    async def _serve(self, streams: doors.Streams) -> None:
        """Speak for the server at the other end of `streams` until it is gone."""
        async with ClientSession(*streams) as session:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                proxy = await create_proxy_server(session)
            _tell_losses(proxy, session)
            # Nothing here lives longer than a request, so a restart costs no client its session.
            manager = StreamableHTTPSessionManager(
                proxy, json_response=True, stateless=True, security_settings=self._security
            )
            async with manager.run():
                self._up(manager, f"{proxy.name} {proxy.version or ''}".strip())
                await _until_gone(session)
                self._manager = None

    def _up(self, manager: StreamableHTTPSessionManager, version: str) -> None:
        self._manager, self.version = manager, version
        self.state, self.problem = "ready", None
        self.attempted.set()
        log.info("ready", extra={"server": self.specification.name, "version": version})

    def _down(self, why: str) -> None:
        self._manager = None
        last = " ".join(self._last_words)
        words = f"{why}; it said: {last}" if last else why
        self.state, self.problem = "down", self.specification.without_secrets(words)
        self.attempted.set()
        log.warning("down", extra={"server": self.specification.name, "problem": self.problem})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._manager is not None:
            await self._manager.handle_request(scope, receive, send)
            return
        problem = self.problem or "is being installed and started"
        message = f"{self.specification.name} is not available: {problem}"
        # An error of the protocol reaches whoever asked; of an HTTP status most clients show the number only.
        error = {"jsonrpc": "2.0", "id": await _request_id(receive), "error": {"code": -32000, "message": message}}
        await JSONResponse(error)(scope, receive, send)


async def _request_id(receive: Receive) -> Any:
    """The id of the JSON-RPC request in the body; None where there is none."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > MAX_BODY_BYTES:
            break
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document.get("id") if isinstance(document, dict) else None


def _is_gone(error: Exception) -> bool:
    """Whether the server behind has ended, as the SDK tells it. A slow server is not a dead one."""
    # The SDK's word for a pipe that closed while it waited for the answer.
    return isinstance(error, CHILD_GONE) or "Connection closed" in str(error)


def _tell_losses(proxy: Server[object], session: ClientSession) -> None:
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
            lost.set(_is_gone(error))
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


async def _until_gone(session: ClientSession) -> None:
    """Returns when the server has ended."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            async with asyncio.timeout(PING_SECONDS):
                await session.send_ping()
        except (McpError, *CHILD_GONE) as error:
            if _is_gone(error):
                return
        except TimeoutError:
            continue


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it did not shake hands within {HANDSHAKE_SECONDS:g} s"
    return " ".join(str(error).split()) or type(error).__name__
