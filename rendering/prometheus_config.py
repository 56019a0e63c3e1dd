"""Prometheus: what it scrapes, for how long it keeps it, and what an operator is woken up for.

Both files are JSON, which is YAML whatever the values hold. Replicas are found by name, so another one appears
without a change here.
"""

from __future__ import annotations

import json
from typing import Any

from catalog import SERVICES, Protocol
from plan import FILES_PATH, SECRETS_PATH, Deploy, Plan, Workload

CONFIG_FILE = "prometheus.yml"
RULES_FILE = "rules.yml"

RETENTION_DAYS = 15
# Of the disk that the catalog plans for; the rest is for the write-ahead log and for compaction.
_BLOCKS_SHARE = 0.8
_SECONDS = 5


def prometheus_command(data_path: str) -> tuple[str, ...]:
    """Prometheus' arguments. Neither its lifecycle API nor its admin API is enabled."""
    megabytes = int(SERVICES["prometheus"].disk_gb * 1024 * _BLOCKS_SHARE)
    return (
        f"--config.file={FILES_PATH}/{CONFIG_FILE}",
        f"--storage.tsdb.path={data_path}",
        f"--storage.tsdb.retention.time={RETENTION_DAYS}d",
        f"--storage.tsdb.retention.size={megabytes}MB",
        "--log.format=json",
    )


def qdrant_key_wanted(plan: Plan, workload: Workload) -> bool:
    """Whether Prometheus must show Qdrant's key to read its metrics."""
    return _has_metrics(plan, "qdrant") and "qdrant" in workload.secrets


def prometheus_config(plan: Plan, workload: Workload) -> str:
    """The text of `prometheus.yml`."""
    jobs = [_itself()]
    if _has_metrics(plan, "promptcraft"):
        jobs.append(_job("promptcraft"))
    if _has_metrics(plan, "qdrant"):
        authorization = {"authorization": {"type": "Bearer", "credentials_file": f"{SECRETS_PATH}/qdrant"}}
        jobs.append(_job("qdrant") | (authorization if qdrant_key_wanted(plan, workload) else {}))
    return _document(
        {
            "global": {"scrape_interval": f"{_SECONDS}s", "evaluation_interval": f"{_SECONDS}s"},
            "rule_files": [f"{FILES_PATH}/{RULES_FILE}"],
            "scrape_configs": jobs,
        }
    )


def _has_metrics(plan: Plan, service: str) -> bool:
    """Of Qdrant's only the real one has metrics; what is reused is its owner's to watch."""
    decision = plan.decisions[service]
    real = isinstance(decision, Deploy) and decision.workload.image.stand_in is None
    return real and SERVICES[service].protocol in (Protocol.PROMPTCRAFT, Protocol.QDRANT)


def _itself() -> dict[str, Any]:
    return {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{SERVICES['prometheus'].port}"]}]}


def _job(service: str) -> dict[str, Any]:
    addresses = {"names": [service], "type": "A", "port": SERVICES[service].port, "refresh_interval": f"{_SECONDS}s"}
    return {"job_name": service, "dns_sd_configs": [addresses]}


def alert_rules(plan: Plan) -> str:
    """The text of `rules.yml`: rules for what this stack runs."""
    rules = [
        _rule("TargetDown", "up == 0", "1m", "critical", "{{ $labels.job }} at {{ $labels.instance }} does not answer")
    ]
    application = plan.decisions["promptcraft"]
    if isinstance(application, Deploy):
        rules += _application_rules(application.workload)
    return _document({"groups": [{"name": "promptcraft", "rules": rules}]})


def _application_rules(workload: Workload) -> list[dict[str, Any]]:
    count = len(workload.replicas)
    requests = "promptcraft_http_requests_total"
    failed = f'sum(rate({requests}{{status=~"5.."}}[5m])) / sum(rate({requests}[5m]))'
    # Runs of agents and the stream of events last as long as they need to.
    quick = 'route!~"/api/events|/api/agents/.*"'
    slow = f"sum by (le) (rate(promptcraft_http_request_seconds_bucket{{{quick}}}[5m]))"
    near = int(workload.memory_mb * 0.9) * 2**20
    return [
        # A replica that died leaves the name's addresses, so its target is not down but gone: count what is there.
        _rule(
            "PromptCraftReplicaMissing",
            f'(count(up{{job="promptcraft"}} == 1) or vector(0)) < {count}',
            "30s",
            "critical",
            f"{{{{ $value }}}} of {count} PromptCraft replicas answer",
        ),
        _rule(
            "PromptCraftTargetMissing",
            'absent(up{job="promptcraft"})',
            "1m",
            "critical",
            "Prometheus finds no PromptCraft replica",
        ),
        _rule(
            "PromptCraftErrors",
            f"{failed} > 0.05",
            "2m",
            "critical",
            "{{ $value | humanizePercentage }} of requests fail",
        ),
        _rule(
            "PromptCraftSlow",
            f"histogram_quantile(0.95, {slow}) > 1",
            "5m",
            "warning",
            "one request in twenty takes longer than {{ $value | humanizeDuration }}",
        ),
        _rule(
            "PromptCraftMemory",
            f'process_resident_memory_bytes{{job="promptcraft"}} > {near}',
            "5m",
            "warning",
            f"{{{{ $labels.instance }}}} uses {{{{ $value | humanize1024 }}}}B of {workload.memory_mb} MiB",
        ),
    ]


def _rule(name: str, expression: str, lasting: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }


def _document(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
