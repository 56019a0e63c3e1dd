"""The official MCP client at a service of the plan, in whichever era the server speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx2
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import DEFAULT_MAX_SSE_EVENT_SIZE, StreamableHTTPError, streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from gateway.outbound import http_client
from gateway.plan import PlannedService, mcp_url

CONNECT_SECONDS = 5.0
# Between attempts, in seconds. Only a connection that was never made is tried again: what may have begun must not begin
# twice.
CONNECT_PAUSES = (0.2, 0.5)

# What a server can make the client raise, alone or in groups: `except* MCP_ERRORS`.
MCP_ERRORS = (
    MCPError,
    StreamableHTTPError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    ValidationError,
    TimeoutError,
    OSError,
)


@asynccontextmanager
async def connected(
    service: PlannedService,
    seconds: float,
    transport: httpx2.AsyncBaseTransport | None = None,
    max_event_bytes: int | None = DEFAULT_MAX_SSE_EVENT_SIZE,
) -> AsyncIterator[Client]:
    """A client after its handshake. Raises `MCP_ERRORS`, as a rule in groups.

    An answer may take `seconds`, or less where the server's entry says so. `transport` takes the place of plain HTTP.
    """
    assert service.endpoint is not None
    seconds = min(seconds, service.answer_seconds or seconds)
    if urlsplit(service.endpoint).scheme not in ("http", "https"):
        # npx:PACKAGE, where the program found no runner to start it.
        raise httpx2.UnsupportedProtocol(f"{service.endpoint} is not served over HTTP")
    url = mcp_url(service.endpoint)
    if urlsplit(url).path.rstrip("/").endswith("/sse"):
        # The transport of 2024-11-05, as discovery tells it from its successors: by its path.
        def http_of(
            headers: dict[str, str] | None = None,
            timeout: httpx2.Timeout | None = None,
            auth: httpx2.Auth | None = None,
        ) -> httpx2.AsyncClient:
            return _http(service, seconds, transport)

        async with Client(sse_client(url, httpx_client_factory=http_of)) as client:
            yield client
        return
    async with (
        _http(service, seconds, transport) as http,
        Client(streamable_http_client(url, http_client=http, max_sse_event_size=max_event_bytes)) as client,
    ):
        yield client


def _http(service: PlannedService, seconds: float, transport: httpx2.AsyncBaseTransport | None) -> httpx2.AsyncClient:
    connect_seconds = min(seconds, CONNECT_SECONDS)
    http = http_client(connect_seconds, service.headers(), transport)
    # Only connecting is short.
    http.timeout = httpx2.Timeout(seconds, connect=connect_seconds)
    return http
