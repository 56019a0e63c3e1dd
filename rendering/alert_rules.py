"""What an operator is woken up for: Prometheus' alert rules, for what this stack runs. JSON, which is YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from catalog import SERVICES
from planning.plan import Deploy, Plan, Workload
from rendering.prometheus_config import jobs

# Of a limit: what is left is for a burst, and for the operator to act.
_NEAR = 0.9


def alert_rules(plan: Plan) -> str:
    """The text of `rules.yml`."""
    return json.dumps({"groups": rule_groups(plan)}, indent=2) + "\n"


def rule_groups(plan: Plan) -> list[dict[str, Any]]:
    """The rules as Prometheus groups them."""
    deployed = {name: choice.workload for name, choice in plan.decisions.items() if isinstance(choice, Deploy)}
    rules = [*_target_rules(plan), *_memory_rules(deployed)]
    if "promptcraft" in deployed:
        rules += [*_replica_rules(len(deployed["promptcraft"].replicas)), *_request_rules()]
    if "qdrant" in deployed:
        rules.append(_qdrant_rule())
    return [{"name": "promptcraft", "rules": rules}]


def _target_rules(plan: Plan) -> Iterator[dict[str, Any]]:
    yield _rule(
        "TargetDown", "up == 0", "1m", "critical", "{{ $labels.job }} at {{ $labels.instance }} does not answer"
    )
    missing = " or ".join(f'absent(up{{job="{name}"}})' for name in jobs(plan))
    if missing:
        yield _rule("TargetMissing", missing, "1m", "critical", "Prometheus finds no {{ $labels.job }}")


def _replica_rules(count: int) -> Iterator[dict[str, Any]]:
    started = 'process_start_time_seconds{job="promptcraft"}'
    # A replica that died leaves the name's addresses, so its target is not down but gone: count what is there.
    yield _rule(
        "PromptCraftReplicaMissing",
        f'(count(up{{job="promptcraft"}} == 1) or vector(0)) < {count}',
        "30s",
        "critical",
        f"{{{{ $value }}}} of {count} PromptCraft replicas answer",
    )
    # The engine brings a dead replica back within seconds, which no rule on its absence would see.
    yield _rule(
        "PromptCraftReplicaDown",
        f"changes({started}[2m]) > 0",
        "0s",
        "warning",
        "the PromptCraft replica at {{ $labels.instance }} died and was started again",
    )


def _request_rules() -> Iterator[dict[str, Any]]:
    requests = "promptcraft_http_requests_total"
    failed = f'sum(rate({requests}{{status=~"5.."}}[5m])) / sum(rate({requests}[5m]))'
    # Runs of agents and the stream of events last as long as they need to.
    quick = 'route!~"/api/events|/api/agents/.*"'
    slow = f"sum by (le) (rate(promptcraft_http_request_seconds_bucket{{{quick}}}[5m]))"
    yield _rule(
        "PromptCraftErrors", f"{failed} > 0.05", "2m", "critical", "{{ $value | humanizePercentage }} of requests fail"
    )
    yield _rule(
        "PromptCraftSlow",
        f"histogram_quantile(0.95, {slow}) > 1",
        "5m",
        "warning",
        "one request in twenty takes longer than {{ $value | humanizeDuration }}",
    )


def _memory_rules(deployed: dict[str, Workload]) -> Iterator[dict[str, Any]]:
    near = [
        f"{SERVICES[name].memory_metric or _resident(name)} > {int(workload.memory_mb * _NEAR) * 2**20}"
        for name, workload in deployed.items()
    ]
    yield _rule(
        "MemoryNearLimit",
        " or ".join(near),
        "5m",
        "warning",
        "{{ $labels.job }} at {{ $labels.instance }} uses {{ $value | humanize1024 }}B, nearly all it may",
    )
    if "redis" in deployed:
        yield _rule(
            "RedisMemory",
            f"redis_memory_used_bytes / (redis_memory_max_bytes > 0) > {_NEAR}",
            "1m",
            "warning",
            "Redis has used {{ $value | humanizePercentage }} of its memory and soon takes nothing more",
        )
        yield _rule(
            "RedisEvicts",
            "increase(redis_evicted_keys_total[5m]) > 0",
            "0s",
            "warning",
            "Redis evicts, and what it takes may be a session, a key or a record",
        )


def _resident(job: str) -> str:
    return f'process_resident_memory_bytes{{job="{job}"}}'


def _qdrant_rule() -> dict[str, Any]:
    # Asked by the application: Qdrant's own metrics say nothing about `/readyz`.
    return _rule(
        "QdrantNotReady",
        'max(promptcraft_service_healthy{service="qdrant"}) == 0',
        "1m",
        "critical",
        "Qdrant is not ready",
    )


def _rule(name: str, expression: str, lasting: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }
