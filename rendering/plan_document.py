"""The plan as the application reads it: `plan.json` (schema in docs/architecture.md)."""

from __future__ import annotations

import hashlib
import json
from typing import Any, assert_never

from catalog import FINDABLE, Protocol
from discovery.report import AgentDefinition, AgentReport
from planning.plan import (
    FILES_PATH,
    SECRETS_PATH,
    Decision,
    Deploy,
    HostCommand,
    InRunner,
    Models,
    OAuth,
    Omit,
    Plan,
    Relay,
    Reuse,
    secret_of,
)

SCHEMA_VERSION = 1


def agent_file(definition: AgentDefinition) -> str:
    """Where an agent's definition, as JSON, lies inside the application's container."""
    return f"{FILES_PATH}/agents/{definition.name}.json"


def header_file(name: str) -> str:
    """Where the headers of requests to an MCP server lie inside the application's container: a JSON map."""
    return f"{SECRETS_PATH}/headers-{name}.json"


def pin_file(name: str) -> str:
    """Where the accepted tools of an MCP server lie inside the application's container."""
    return f"{FILES_PATH}/pins/{name}.json"


def plan_document(plan: Plan, secrets: tuple[str, ...]) -> str:
    """JSON text, sorted by key. `secrets` names the services whose credential the application may read."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "project": plan.project,
        "stack": plan.stack,
        "services": {
            name: _service(name, decision, secrets) | _identity(name, decision) | _pin(name, plan)
            for name, decision in plan.decisions.items()
        },
        "limits": {
            "max_concurrent_agents": plan.limits.max_concurrent_agents,
            "agent_memory_mb": plan.limits.agent_memory_mb,
            "mcp_memory_mb": plan.limits.mcp_memory_mb,
            "total_memory_mb": plan.limits.total_memory_mb,
            "models": dict(plan.limits.models),
        },
        "models": _models(plan.models),
        "agents": {name: _agent(agent) for name, agent in plan.agents.items()},
        "access": None if plan.access is None else {name: list(globs) for name, globs in plan.access.items()},
        "oauth": None if plan.oauth is None else _oauth(plan.oauth),
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _service(name: str, decision: Decision, secrets: tuple[str, ...]) -> dict[str, Any]:
    credential = secret_of(name, decision)
    common = {
        "protocol": FINDABLE[name].protocol.value if name in FINDABLE else Protocol.MCP.value,
        "reason": decision.reason,
        "credential": f"{SECRETS_PATH}/{credential}" if credential in secrets else None,
    }
    match decision:
        case Deploy(workload=workload, endpoint=endpoint, source=source):
            return common | {
                "action": "deploy",
                "source": source,
                "endpoint": endpoint,
                "stand_in": workload.image.stand_in,
            }
        case Reuse(endpoint=endpoint, source=source):
            reused = {"source": source, "endpoint": endpoint, "stand_in": None, "host": decision.known_as}
            reused |= _as_its_entry_says(name, decision)
            return common | reused | {"action": "reuse"}
        case Relay(endpoint=endpoint, source=source):
            relayed = {"source": source, "endpoint": endpoint, "stand_in": None, "host": decision.known_as}
            relayed |= _as_its_entry_says(name, decision)
            return common | relayed | {"action": "relay"}
        case InRunner(endpoint=endpoint, source=source):
            started = {"source": source, "endpoint": endpoint, "stand_in": None}
            return common | started | _as_its_entry_says(name, decision) | {"action": "deploy"}
        case HostCommand(endpoint=endpoint, source=source):
            return common | {"action": "deploy", "source": source, "endpoint": endpoint, "stand_in": None}
        case Omit():
            return common | {"action": "omit", "source": None, "endpoint": None, "stand_in": None}
        case _:
            assert_never(decision)


def _pin(name: str, plan: Plan) -> dict[str, Any]:
    return {"pin": pin_file(name)} if name in plan.pinned else {}


def _identity(name: str, decision: Decision) -> dict[str, Any]:
    """A digest of what this stack starts as an MCP server, which changes by somebody's own doing only."""
    if name in FINDABLE and FINDABLE[name].protocol is not Protocol.MCP:
        return {}
    match decision:
        case Deploy(workload=workload):
            parts: list[Any] = ["image", workload.image.reference]
        case InRunner(container=container) as server:
            image = None if container is None else container.image.reference
            parts = ["launch", server.program, server.package, server.beside, server.arguments, image]
        case HostCommand(fingerprint=fingerprint):
            parts = ["command", fingerprint]
        case Reuse() | Relay() | Omit():
            # Another's may move without anybody's doing.
            return {}
        case _:
            assert_never(decision)
    return {"identity": hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}


def _as_its_entry_says(name: str, decision: Reuse | Relay | InRunner) -> dict[str, Any]:
    has_headers = not isinstance(decision, InRunner) and decision.headers is not None
    headers = {"headers": header_file(name)} if has_headers else {}
    return headers | ({"answer_seconds": decision.answer_seconds} if decision.answer_seconds else {})


def _models(models: Models) -> dict[str, Any]:
    local = models.local
    return {
        "local": None
        if local is None
        else {
            "endpoint": local.endpoint,
            "host": local.host,
            "title": local.title,
            "names": list(local.names),
            "credential": f"{SECRETS_PATH}/{local.secret}" if local.secret else None,
        },
        "providers": {name: {"credential": f"{SECRETS_PATH}/{secret}"} for name, secret in models.providers.items()},
        "names": dict(models.names),
        "problem": models.problem,
    }


def _oauth(oauth: OAuth) -> dict[str, Any]:
    return {
        "issuer": oauth.issuer,
        "audience": oauth.audience,
        "scopes": list(oauth.scopes),
        "caller_claim": oauth.caller_claim,
    }


def _agent(agent: AgentReport) -> dict[str, Any]:
    chosen = agent.selected
    shadowed = [{"tier": one.tier, "path": one.path, "problem": one.problem} for one in agent.shadowed]
    if chosen is None:
        problems = [definition.problem for definition in agent.shadowed if definition.problem]
        broken = agent.shadowed[0] if agent.shadowed else None
        return {
            "tier": broken.tier if broken else None,
            "path": broken.path if broken else None,
            "file": None,
            "model": None,
            "problem": problems[0] if problems else "no usable definition",
            "shadowed": shadowed,
            "dependencies": dict(agent.dependencies),
        }
    return {
        "tier": chosen.tier,
        "path": chosen.path,
        "file": agent_file(chosen),
        "model": chosen.model,
        "problem": chosen.problem,
        "shadowed": shadowed,
        "dependencies": dict(agent.dependencies),
    }
