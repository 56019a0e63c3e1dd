"""What Claude Code makes of a server in `.mcp.json`, by the official client.

Facts (Claude Code's documentation, "MCP", `.mcp.json`): `${VAR}` is expanded in `command`, `args`, `env`, `url` and
`headers`, and a variable that is not set makes the entry unusable; a command inherits Claude Code's own environment.
"""

from __future__ import annotations

import asyncio
import string
from collections.abc import Mapping
from typing import Any

import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

# A package is fetched first.
SECONDS = 180.0


def tools_of(server: Mapping[str, Any], environment: Mapping[str, str]) -> set[str]:
    """The names of the server's tools, after its handshake. Raises `KeyError` for a variable that is not set."""
    return asyncio.run(_tools_of(_expanded(server, environment), environment))


async def _tools_of(server: Mapping[str, Any], environment: Mapping[str, str]) -> set[str]:
    async with asyncio.timeout(SECONDS):
        if server["type"] == "stdio":
            return await _names(Client(_command(server, environment)))
        assert server["type"] == "http", server
        async with httpx2.AsyncClient(headers=server.get("headers"), trust_env=False) as http:
            return await _names(Client(streamable_http_client(server["url"], http_client=http)))


def _command(server: Mapping[str, Any], environment: Mapping[str, str]) -> StdioServerParameters:
    return StdioServerParameters(
        command=server["command"], args=server["args"], env={**environment, **server.get("env", {})}
    )


async def _names(client: Client) -> set[str]:
    async with client:
        return {tool.name for tool in (await client.list_tools()).tools}


def _expanded(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return string.Template(value).substitute(environment)
    if isinstance(value, Mapping):
        return {key: _expanded(item, environment) for key, item in value.items()}
    return [_expanded(item, environment) for item in value] if isinstance(value, list) else value
