"""MCP: the handshake of the official client."""

from __future__ import annotations

import asyncio

from gateway.checks.answer import Answer
from gateway.mcp_client import MCP_ERRORS, connected
from gateway.outbound import error_line
from gateway.plan import PlannedService

STAND_IN_SUFFIX = "-stand-in"


async def ask_mcp(service: PlannedService, seconds: float) -> Answer:
    answer = Answer("down")
    try:
        async with asyncio.timeout(seconds), connected(service, seconds) as client:
            # The 2026 era lets a server stay anonymous.
            if (server := client.server_info) is None:
                answer = Answer("ok")
            else:
                answer = Answer("ok", server.version or None, stand_in=server.name.endswith(STAND_IN_SUFFIX))
    except* MCP_ERRORS as group:
        answer = Answer("down", problem=error_line(group))
    return answer
