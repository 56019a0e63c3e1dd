"""Whether a bridge answers in MCP: its `initialize`, and nothing more."""

from __future__ import annotations

import http.client
import json

_REVISION = "2025-06-18"
_MAX_BYTES = 1024 * 1024


def introduces_itself(address: str, port: int, token: str, seconds: float) -> str | None:
    """The name that the server behind the bridge gives itself, or None where it gives none within `seconds`."""
    question = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": _REVISION,
            "capabilities": {},
            "clientInfo": {"name": "promptcraft-host-command", "version": "1"},
        },
    }
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    connection = http.client.HTTPConnection(address, port, timeout=seconds)
    try:
        connection.request("POST", "/mcp", json.dumps(question), headers)
        document = json.loads(connection.getresponse().read(_MAX_BYTES))
        return str(document["result"]["serverInfo"]["name"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
