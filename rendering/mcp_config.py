"""Addresses for people and their tools on this host: the stack outputs `urls` and `mcpConfig`."""

from __future__ import annotations

from typing import Any

from catalog import SERVICES, Protocol
from plan import Decision, Deploy, Plan, Relay, Reuse

# The page is what a person opens; the API has a name of its own.
_NAMES = {("promptcraft", 7860): "promptcraft", ("promptcraft", 7862): "promptcraft-api"}


def urls(plan: Plan) -> dict[str, str]:
    """Address by name, as seen from this host; services that are not reachable from it are left out."""
    return {name: url for service, decision in plan.decisions.items() for name, url in _of(service, decision)}


def _of(service: str, decision: Decision) -> list[tuple[str, str]]:
    match decision:
        case Deploy(workload=workload):
            return [
                (_NAMES.get((service, port.internal), service), f"http://127.0.0.1:{port.external}")
                for port in workload.replicas[0].ports
            ]
        case Reuse(host_endpoint=endpoint) | Relay(host_endpoint=endpoint):
            return [(service, endpoint)]
        case _:
            return []


def mcp_config(plan: Plan) -> dict[str, Any]:
    """An `mcpServers` document ready to paste into `.mcp.json` (Claude Code's format for HTTP servers)."""
    addresses = urls(plan)
    return {
        "mcpServers": {
            name: {"type": "http", "url": _with_path(addresses[name])}
            for name, service in SERVICES.items()
            if service.protocol is Protocol.MCP and name in addresses
        }
    }


def _with_path(url: str) -> str:
    host = url.split("://", 1)[1]
    return url if "/" in host.rstrip("/") else f"{url.rstrip('/')}/mcp"
