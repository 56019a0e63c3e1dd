"""MCP: the handshake of the official client."""

from __future__ import annotations

import asyncio

from gateway.checks.answer import Answer
from gateway.mcp_client import MCP_ERRORS, connected
from gateway.outbound import error_line
from gateway.plan import PlannedService


async def ask_mcp(service: PlannedService, seconds: float) -> Answer:
    answer = Answer("down")
    try:
        async with asyncio.timeout(seconds), connected(service, seconds) as client:
            # The 2026 era lets a server stay anonymous.
            server = client.server_info
            answer = Answer("ok", server.version or None if server else None)
    except* MCP_ERRORS as group:
        answer = Answer("down", problem=error_line(group))
    return answer
