"""One hosted server: installed, started, kept alive, and spoken for; mcp-proxy carries HTTP to its stdio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import anyio
import carried
import packages
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from mcp.types import CONNECTION_CLOSED, CallToolRequest, CallToolResult, ErrorData, ServerResult
from mcp_proxy.proxy_server import create_proxy_server
from packages import Command, PackageError
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 30.0
PING_SECONDS = 5.0
WATCH_SECONDS = 5.0
# Between attempts, in seconds; the last one stays.
PAUSES = (5.0, 15.0, 60.0)
MAX_BODY_BYTES = 4 * 1024 * 1024
CHILD_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)


@dataclass(frozen=True)
class Specification:
    """What to run: `npx` or `uvx`, the package, which of its programs. `hidden` are texts that no log may show.

    `beside` are packages that are installed with it, `options` are for the installer. With an `address`, it runs in a
    container of its own already.
    """

    name: str
    file: Path
    program: str
    package: str
    binary: str | None
    hidden: tuple[str, ...]
    beside: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    address: tuple[str, int] | None = None

    @classmethod
    def read(cls, name: str, file: Path) -> Specification:
        """`{"program", "package", "beside", "options", "binary", "arguments", "environment"}`, as it was deployed."""
        document = json.loads(file.read_text(encoding="utf-8"))
        if "address" in document:
            host, port = document["address"]
            return cls(name, file, document["program"], document["package"], None, (), address=(host, port))
        hidden = (*document["environment"].values(), *document["arguments"])
        # Longest first, so that a part of a secret is not replaced before the whole of it.
        hidden = tuple(sorted((text for text in hidden if len(text) > 3), key=len, reverse=True))
        return cls(
            name=name,
            file=file,
            program=document["program"],
            package=document["package"],
            binary=document["binary"],
            hidden=hidden,
            beside=tuple(document["beside"]),
            options=tuple(document["options"]),
        )

    async def command(self) -> Command:
        """How to start it, once it is installed. Raises `PackageError`."""
        wanted = packages.Wanted(self.package, self.beside, self.options)
        install = packages.npm_package if self.program == "npx" else packages.python_package
        return await install(wanted, self.binary)

    def without_secrets(self, text: str) -> str:
        """`text` as it may be shown: one short line."""
        for hidden in self.hidden:
            text = text.replace(hidden, "[hidden]")
        return " ".join(text.split())[:300]


class Hosted:
    """Serves `/servers/<name>/mcp`; until its server answers, every call is answered with the reason why not."""

    def __init__(self, specification: Specification, security: TransportSecuritySettings) -> None:
        self.specification = specification
        self.state = "starting"
        self.problem: str | None = None
        self.version: str | None = None
        self.attempted = asyncio.Event()
        self._security = security
        self._manager: StreamableHTTPSessionManager | None = None
        self._last_words = ""

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
        self._last_words = ""
        if self.specification.address:
            async with carried.connected(*self.specification.address) as streams:
                await self._serve(streams)
            return
        command = await self.specification.command()
        variables = {"PROMPTCRAFT_SERVER_FILE": str(self.specification.file)}
        child = StdioServerParameters(
            command=command.program,
            args=list(command.arguments),
            env={**packages.environment(), **command.environment, **variables},
            cwd="/tmp",
        )
        with self._errors() as errors:
            async with stdio_client(child, errlog=errors) as streams:
                await self._serve(streams)

    async def _serve(self, streams: carried.Streams) -> None:
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
        words = f"{why}; it said: {self._last_words}" if self._last_words else why
        self.state, self.problem = "down", self.specification.without_secrets(words)
        self.attempted.set()
        log.warning("down", extra={"server": self.specification.name, "problem": self.problem})

    @contextlib.contextmanager
    def _errors(self) -> Any:
        """A pipe for the server's stderr: its lines are logged without what is hidden."""
        readable, writable = os.pipe()
        loop = asyncio.get_running_loop()
        lines = os.fdopen(readable, "rb", buffering=0)
        os.set_blocking(readable, False)

        def arrived() -> None:
            data = lines.read(65536)
            if not data:
                loop.remove_reader(readable)
                return
            for line in data.decode(errors="replace").splitlines():
                if shown := self.specification.without_secrets(line):
                    self._last_words = shown
                    log.debug("said", extra={"server": self.specification.name, "line": shown})

        loop.add_reader(readable, arrived)
        errors: TextIO = os.fdopen(writable, "w")
        try:
            yield errors
        finally:
            errors.close()
            loop.remove_reader(readable)
            arrived()
            lines.close()

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
