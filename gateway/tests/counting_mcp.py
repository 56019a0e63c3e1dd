"""An MCP server that counts its calls, and how many of each model ran at once. Some words make it misbehave."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

DELAY_SECONDS = float(os.environ.get("DELAY_SECONDS", "0"))
TOKEN = os.environ.get("TOKEN", "")

server = MCPServer(name="counting", version="1")
running: Counter[str] = Counter()
peaks: Counter[str] = Counter()
calls: Counter[str] = Counter()


@server.tool(structured_output=False)
async def chat(prompt: str, model: str, context: Context, working_directory_absolute_path: str | None = None) -> str:
    calls["all"] += 1
    calls[model] += 1
    if "FAIL" in prompt:
        raise ToolError("asked to fail")
    if "DIE" in prompt:
        os._exit(1)
    if "WRAPPED" in prompt:
        return json.dumps({"status": "success", "content": "unwrapped", "content_type": "text"})
    running[model] += 1
    running["all"] += 1
    for name in (model, "all"):
        peaks[name] = max(peaks[name], running[name])
    try:
        await context.report_progress(1, 2, "half way")
        await asyncio.sleep(60 if "SLOW" in prompt else DELAY_SECONDS)
    finally:
        running[model] -= 1
        running["all"] -= 1
    return f"answer to: {prompt}"


@server.tool(structured_output=False)
async def look_up(topic: str, library: str) -> str:
    """Says what was asked of it."""
    return f"{library} on {topic}"


@server.tool(structured_output=False)
async def keep(topic: str, what: Any) -> str:
    """Says what it was given, a text as it is and anything else as JSON."""
    return what if isinstance(what, str) else json.dumps(what, separators=(",", ":"))


@server.tool(structured_output=False)
async def counts() -> str:
    return json.dumps({"calls": calls, "peaks": peaks, "running": running})


def guarded(app: ASGIApp) -> ASGIApp:
    """Answers to the bearer of the token only."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") != f"Bearer {TOKEN}".encode():
            await Response(status_code=401)(scope, receive, send)
            return
        await app(scope, receive, send)

    return guard


if __name__ == "__main__":
    host = os.environ.get("HOST", "127.0.0.1")
    app = (
        server.sse_app(host=host)
        if os.environ.get("TRANSPORT") == "sse"
        else server.streamable_http_app(stateless_http=True, host=host)
    )
    uvicorn.run(guarded(app) if TOKEN else app, host=host, port=int(os.environ["PORT"]), log_level="warning")
