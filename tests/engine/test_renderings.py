"""What is rendered, checked by the very program that reads it: promtool, in its own image."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog import EXPORTERS, SERVICES
from discovery.config import DiscoveryConfig
from planning.decide import decide
from planning.plan import Deploy, Plan
from rendering.alert_rules import alert_rules
from rendering.prometheus_config import prometheus_config
from tests.builders import report_of, settings_of
from tests.engine.private_engine import PrivateEngine

pytestmark = pytest.mark.engine

IMAGES = settings_of("production").images


def plan_with(**environment: str) -> Plan:
    settings = settings_of("production", {"GRAFANA_PASSWORD": "only-for-tests", **environment})
    return decide(report_of(), settings, DiscoveryConfig())


def readable(folder: Path, files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Write the files where any user may read them; the volumes that mount them where workloads look."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return {str(folder): {"bind": "/run/promptcraft", "mode": "ro"}}


Promtool = Callable[..., str]


@pytest.fixture
def promtool(private_engine: PrivateEngine, tmp_path: Path) -> Promtool:
    """Run promtool on files below /run/promptcraft; returns what it says, raises when it complains."""

    def run(files: Mapping[str, str], *arguments: str) -> str:
        said: bytes = private_engine.client.containers.run(
            IMAGES["prometheus"].reference,
            list(arguments),
            entrypoint="promtool",
            volumes=readable(tmp_path, files),
            remove=True,
        )
        return said.decode()

    return run


@pytest.mark.parametrize("environment", [{}, {"QDRANT_API_KEY": "only-for-tests"}])
def test_promtool_takes_the_configuration(environment: dict[str, str], promtool: Promtool) -> None:
    plan = plan_with(**environment)
    prometheus = plan.decisions["prometheus"]
    assert isinstance(prometheus, Deploy)
    config = prometheus_config(plan, prometheus.workload)
    jobs = {job["job_name"]: job for job in json.loads(config)["scrape_configs"]}
    assert jobs.keys() == {*SERVICES, *EXPORTERS} - {"redis"}
    assert ("authorization" in jobs["qdrant"]) is bool(environment)
    files = {"prometheus.yml": config, "rules.yml": alert_rules(plan), "secrets/qdrant": "only-for-tests"}
    said = promtool(files, "check", "config", "/run/promptcraft/prometheus.yml")
    assert "10 rules found" in said


def series(labels: str, values: str) -> dict[str, str]:
    return {"series": labels, "values": values}


REQUESTS = "promptcraft_http_requests_total"
BUCKETS = 'promptcraft_http_request_seconds_bucket{route="/health",le='
# Every job that Prometheus has, besides itself.
JOBS = sorted({*SERVICES, *EXPORTERS} - {"redis", "prometheus"})
LIMIT = {name: service.memory_mb * 2**20 for name, service in SERVICES.items()}


def up(job: str, instance: str = "1", value: int = 1) -> dict[str, str]:
    return series(f'up{{job="{job}",instance="{instance}"}}', f"{value}x40")


def gauge(name: str, value: float, **labels: str) -> dict[str, str]:
    told = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return series(f"{name}{{{told}}}", f"{value}x40")


REPLICAS = [up("promptcraft", instance) for instance in "123"]
UP = [*REPLICAS, *(up(job) for job in JOBS if job != "promptcraft")]
FINE = [
    *UP,
    series(f'{REQUESTS}{{status="200"}}', "0+100x40"),
    series(f'{REQUESTS}{{status="500"}}', "0+1x40"),
    *(series(f'{BUCKETS}"{le}"}}', "0+100x40") for le in ("1", "5", "+Inf")),
    *(gauge("process_resident_memory_bytes", LIMIT[job] * 0.8, job=job) for job in LIMIT if job != "redis"),
    gauge("process_start_time_seconds", 1, job="promptcraft", instance="1"),
    gauge("redis_memory_used_rss_bytes", LIMIT["redis"] * 0.8, job="redis-exporter"),
    gauge("redis_memory_used_bytes", 80, job="redis-exporter"),
    gauge("redis_memory_max_bytes", 100, job="redis-exporter"),
    gauge("memory_resident_bytes", LIMIT["qdrant"] * 0.8, job="qdrant"),
    gauge("promptcraft_service_healthy", 1, service="qdrant", instance="1"),
    gauge("promptcraft_service_healthy", 0, service="qdrant", instance="2"),
]


# What Prometheus sees for 20 minutes, and the one alert that is on at their end.
SCENES: list[tuple[str | None, list[dict[str, str]]]] = [
    (None, FINE),
    ("TargetDown", [*UP, up("prometheus", "p", 0)]),
    ("TargetMissing", [one for one in UP if 'job="qdrant"' not in one["series"]]),
    ("PromptCraftReplicaMissing", UP[1:]),
    ("PromptCraftReplicaDown", [*UP, series('process_start_time_seconds{job="promptcraft"}', "1x38 2x2")]),
    (
        "PromptCraftErrors",
        [*UP, series(f'{REQUESTS}{{status="200"}}', "0+90x40"), series(f'{REQUESTS}{{status="500"}}', "0+10x40")],
    ),
    (
        "PromptCraftSlow",
        [
            *UP,
            series(f'{BUCKETS}"1"}}', "0+10x40"),
            *(series(f'{BUCKETS}"{le}"}}', "0+100x40") for le in (5, "+Inf")),
        ],
    ),
    *(
        ("MemoryNearLimit", [*UP, gauge("process_resident_memory_bytes", LIMIT[job] * 0.95, job=job)])
        for job in LIMIT
        if job not in ("redis", "qdrant")
    ),
    ("MemoryNearLimit", [*UP, gauge("redis_memory_used_rss_bytes", LIMIT["redis"] * 0.95, job="redis-exporter")]),
    ("MemoryNearLimit", [*UP, gauge("memory_resident_bytes", LIMIT["qdrant"] * 0.95, job="qdrant")]),
    ("RedisMemory", [*UP, gauge("redis_memory_used_bytes", 95), gauge("redis_memory_max_bytes", 100)]),
    # No limit is no alert.
    (None, [*UP, gauge("redis_memory_used_bytes", 95), gauge("redis_memory_max_bytes", 0)]),
    ("RedisEvicts", [*UP, series('redis_evicted_keys_total{job="redis"}', "0+5x40")]),
    # Its count begins anew with a new Redis.
    (None, [*UP, series('redis_evicted_keys_total{job="redis"}', "7x40")]),
    ("QdrantNotReady", [*UP, *(gauge("promptcraft_service_healthy", 0, service="qdrant", i=i) for i in "12")]),
]


def scene(number: int, name: str | None, input_series: list[dict[str, str]], alerts: list[str]) -> dict[str, Any]:
    """A test of promtool's: which alerts fire, and that no other does."""
    counted = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
            "eval_time": "20m",
            "exp_samples": [{"labels": "{}", "value": int(alert == name)}],
        }
        for alert in alerts
    ]
    return {
        "name": f"{number}: {name}",
        "interval": "30s",
        "input_series": input_series,
        "promql_expr_test": counted,
    }


def test_an_alert_fires_when_it_should_and_at_no_other_time(promtool: Promtool) -> None:
    rules = alert_rules(plan_with())
    alerts = [rule["alert"] for rule in json.loads(rules)["groups"][0]["rules"]]
    assert {name for name, _ in SCENES} == {*alerts, None}
    tests = [scene(number, *one, alerts) for number, one in enumerate(SCENES)]
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": tests}
    files = {"rules.yml": rules, "test.yml": json.dumps(document)}
    assert "SUCCESS" in promtool(files, "test", "rules", "/run/promptcraft/test.yml")
