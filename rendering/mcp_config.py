"""Addresses for people and their tools on this host: the stack outputs `urls`, `mcpConfig` and `mcpConfigEach`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from catalog import FINDABLE, SERVICES, Protocol
from planning.plan import Decision, Deploy, InRunner, Plan, Relay, Reuse

# What the stack is called among somebody's MCP servers, and the variable that a token of theirs is taken from.
ENTRY = "promptcraft"
TOKEN_VARIABLE = "PROMPTCRAFT_TOKEN"


def urls(plan: Plan) -> dict[str, str]:
    """Address by name, as seen from this host; services that are not reachable from it are left out."""
    found = {name: url for service, decision in plan.decisions.items() for name, url in _of(service, decision)}
    return found | {"nginx": _public(plan, found["nginx"])} if "nginx" in found and plan.edge.hosts else found


def _public(plan: Plan, local: str) -> str:
    """The load balancer under its first public name: under any other, such as 127.0.0.1, it answers nobody."""
    if plan.edge.certificate is not None:
        scheme, port, usual = "https", plan.edge.tls_port, 443
    else:
        scheme, port, usual = "http", int(local.rsplit(":", 1)[1]), 80
    return f"{scheme}://{plan.edge.hosts[0]}" + ("" if port == usual else f":{port}")


def _of(service: str, decision: Decision) -> list[tuple[str, str]]:
    match decision:
        case Deploy(workload=workload):
            names = {port.container: port.url for port in SERVICES[service].ports}
            return [
                (names[port.internal] or service, f"http://127.0.0.1:{port.external}")
                for port in workload.replicas[0].ports
            ]
        case Reuse(host_endpoint=endpoint) | Relay(host_endpoint=endpoint):
            return [(service, endpoint)]
        case _:
            return []


def mcp_config(plan: Plan) -> dict[str, Any]:
    """An `mcpServers` document ready to paste into `.mcp.json` (Claude Code's format): the one endpoint of the stack.

    A token that it asks for is named as a variable, which the reader of the document expands (`${NAME}`).
    """
    addresses = urls(plan)
    base = addresses.get("nginx") or addresses.get("promptcraft-api")
    if base is None:
        return {"mcpServers": {}}
    server: dict[str, Any] = {"type": "http", "url": f"{base}/mcp"}
    application = plan.decisions["promptcraft"]
    if isinstance(application, Deploy) and "gatewayTokens" in application.workload.secrets:
        server["headers"] = {"Authorization": f"Bearer ${{{TOKEN_VARIABLE}}}"}
    return {"mcpServers": {ENTRY: server}}


def mcp_config_each(plan: Plan) -> dict[str, Any]:
    """The same for tools that are to reach each server by itself, past the endpoint and what it sees to.

    What is published is reached where it is; a package that the runner starts for the stack, people's tools start for
    themselves. Secrets are named as variables.
    """
    addresses = urls(plan)
    servers = {
        name: _over_http(name, _with_path(addresses[name], decision), plan)
        for name, decision in plan.decisions.items()
        if _is_mcp(name, addresses)
    }
    own = {
        name: _over_stdio(server, server.arguments)
        for name, server in plan.in_runner.items()
        if server.arguments is not None
    }
    return {"mcpServers": dict(sorted({**servers, **own}.items()))}


def _is_mcp(name: str, addresses: dict[str, str]) -> bool:
    return name in addresses and (name not in FINDABLE or FINDABLE[name].protocol is Protocol.MCP)


def _over_http(name: str, url: str, plan: Plan) -> dict[str, Any]:
    # The path by which discovery, too, tells the transport of 2024-11-05.
    server = {"type": "sse" if url.endswith("/sse") else "http", "url": url}
    application = plan.decisions["promptcraft"]
    if isinstance(application, Deploy) and name in application.workload.secrets:
        return {**server, "headers": {"Authorization": f"Bearer ${{{name.upper().replace('-', '_')}_TOKEN}}"}}
    return server


def _over_stdio(server: InRunner, arguments: Sequence[str]) -> dict[str, Any]:
    started = {"type": "stdio", "command": server.program, "args": list(arguments)}
    return started | {"env": {own: f"${{{machine}}}" for own, machine in server.variables}}


def _with_path(address: str, decision: Decision) -> str:
    """The address with the path that the stack's containers use, or `/mcp` where they are told none."""
    inside = decision.endpoint if isinstance(decision, Deploy | Reuse | Relay) else ""
    return urlsplit(address)._replace(path=urlsplit(inside).path or "/mcp").geturl()
