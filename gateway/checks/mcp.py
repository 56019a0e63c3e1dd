"""MCP: the handshake of the official client, in whichever era the server speaks."""

from __future__ import annotations

import asyncio
import shutil

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import StreamableHTTPError, streamable_http_client
from mcp.shared.exceptions import MCPError

from gateway.checks.answer import Answer, http_client, one_line
from gateway.plan import PlannedService, mcp_url

NPX = "npx:"
STAND_IN_SUFFIX = "-stand-in"


async def ask_mcp(service: PlannedService, seconds: float) -> Answer:
    assert service.endpoint is not None
    if service.endpoint.startswith(NPX):
        # Started when an agent needs it; a start takes seconds, too long to be asked on every look.
        if shutil.which("npx") is None:
            return Answer("down", problem="needs npx, which this image does not have")
        return Answer("ok", problem="starts on demand; not asked now")
    try:
        return await _handshake(service, seconds)
    except* (MCPError, StreamableHTTPError, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as group:
        problem = one_line(group)
    return Answer("down", problem=problem)


async def _handshake(service: PlannedService, seconds: float) -> Answer:
    assert service.endpoint is not None
    secret = service.secret()
    headers = {"Authorization": f"Bearer {secret}"} if secret else None
    async with asyncio.timeout(seconds), http_client(seconds, headers) as http:
        transport = streamable_http_client(mcp_url(service.endpoint), http_client=http)
        async with Client(transport, read_timeout_seconds=seconds) as client:
            server = client.server_info
            if server is None:
                # The 2026 era lets a server stay anonymous.
                return Answer("ok")
            return Answer("ok", server.version or None, stand_in=server.name.endswith(STAND_IN_SUFFIX))
