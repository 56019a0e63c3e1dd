"""An MCP server with all that one can have: tools, prompts, resources, templates, completions; some words misbehave."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import Completion, ResourceLink, ToolAnnotations

NAME = os.environ.get("NAME", "rich")
TOOLS = int(os.environ.get("TOOLS", "0"))

server = MCPServer(name=NAME, version="1")
calls: list[str] = []
cancelled: list[str] = []


@server.tool(structured_output=False, annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
async def say(text: str) -> str:
    """Says who it is, and what it was told."""
    calls.append(text)
    return f"{NAME}: {text}"


@server.tool()
async def add(first: int, second: int) -> int:
    """Adds two numbers."""
    return first + second


@server.tool(structured_output=False)
async def count(to: int, context: Context) -> str:
    """Counts, and says how far it is."""
    for number in range(1, to + 1):
        await context.report_progress(number, to, f"at {number}")
    return "done"


@server.tool(structured_output=False)
async def wait(text: str) -> str:
    """Waits for a minute."""
    try:
        calls.append(text)
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        cancelled.append(text)
        raise
    return "waited"


@server.tool(structured_output=False)
async def fill(kib: int) -> str:
    """Says much."""
    return "x" * (kib * 2**10)


@server.tool(structured_output=False)
async def fail() -> str:
    """Fails."""
    raise ValueError("on purpose")


@server.tool(structured_output=False)
async def die() -> str:
    """Ends the process."""
    calls.append("die")
    os._exit(1)


@server.tool(structured_output=False)
async def link() -> list[Any]:
    """Names a resource."""
    return [ResourceLink(name="note", uri="note:///first")]


@server.tool()
async def told() -> dict[str, list[str]]:
    """What was called, and what was cancelled."""
    return {"calls": calls, "cancelled": cancelled}


@server.prompt()
def greet(name: str) -> str:
    """Greets."""
    return f"Greet {name} from {NAME}"


@server.resource("note:///first", mime_type="text/plain")
def first() -> str:
    """The first note."""
    return f"the first note of {NAME}"


@server.resource("note:///{number}/body")
def body(number: str) -> str:
    """Any note."""
    return f"note {number} of {NAME}"


@server.completion()  # type: ignore[no-untyped-call,untyped-decorator]
async def complete(reference: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=[f"{NAME}-{argument.value}"])


def _numbered(number: int) -> Any:
    async def tool() -> str:
        return str(number)

    return tool


for number in range(TOOLS):
    server.add_tool(_numbered(number), name=f"tool-{number:04}", structured_output=False)


if __name__ == "__main__":
    host = os.environ.get("HOST", "127.0.0.1")
    app = server.streamable_http_app(stateless_http=os.environ.get("STATELESS") == "yes", host=host)
    uvicorn.run(app, host=host, port=int(os.environ["PORT"]), log_level="warning")
