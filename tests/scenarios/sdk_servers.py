"""MCP servers by the official SDK, as the world runs them: streamable HTTP in both eras, and SSE."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from mcp.server import MCPServer


class SdkServer:
    """An MCP server called `name` with `tools`, at `host` on `/mcp` (or `/sse` with `events`)."""

    def __init__(
        self,
        name: str,
        port: int,
        events: bool = False,
        host: str = "127.0.0.1",
        tools: tuple[Callable[..., Any], ...] = (),
    ) -> None:
        server = MCPServer(name, version="9.8.2", log_level="CRITICAL")
        for tool in tools:
            server.add_tool(tool)
        self._start(server, port, events, host)

    @classmethod
    def of(cls, server: MCPServer, host: str) -> SdkServer:
        """A server that is made already, on any free port."""
        made = cls.__new__(cls)
        made._start(server, 0, False, host)
        return made

    def _start(self, server: MCPServer, port: int, events: bool, host: str) -> None:
        app = server.sse_app(host=host) if events else server.streamable_http_app(host=host)
        config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1)
        self._uvicorn = uvicorn.Server(config)
        # Made here, in the caller's namespace; connections that come before the loop runs wait in the backlog.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._uvicorn.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until it has stopped."""
        self._uvicorn.should_exit = True
        self._thread.join(5)
        self._listener.close()
