"""An MCP server whose tools stand in a file that is read anew each time: it can change them without a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import mcp_types
import uvicorn
from mcp.server.lowlevel.server import Server

FILE = Path(os.environ["TOOLS_FILE"])
CALLS = FILE.with_suffix(".calls")


def tools() -> list[mcp_types.Tool]:
    return [mcp_types.Tool.model_validate(tool) for tool in json.loads(FILE.read_text())]


async def list_tools(context: Any, params: Any) -> mcp_types.ListToolsResult:
    return mcp_types.ListToolsResult(tools=tools())


async def call_tool(context: Any, params: mcp_types.CallToolRequestParams) -> mcp_types.CallToolResult:
    with CALLS.open("a") as calls:
        calls.write(f"{params.name}\n")
    said = mcp_types.TextContent(type="text", text=f"{params.name} was called")
    return mcp_types.CallToolResult(content=[said])


server = Server("shifting", version="1.0.0", on_list_tools=list_tools, on_call_tool=call_tool)

if __name__ == "__main__":
    app = server.streamable_http_app(stateless_http=True)
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
