"""What is rendered, checked by the very programs that read it: nginx, promtool, each in its own image."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from docker.models.networks import Network

from catalog import EXPORTERS, SERVICES
from decide import decide
from discovery.config import DiscoveryConfig
from plan import Deploy, Plan
from rendering.alert_rules import alert_rules
from rendering.nginx_conf import nginx_conf
from rendering.prometheus_config import prometheus_config
from tests.builders import report_of, settings_of
from tests.engine.private_engine import PrivateEngine
from tests.waiting import until

pytestmark = pytest.mark.engine

IMAGES = settings_of("production").images
NETWORK_TIMEOUT = 10
REQUESTS_PER_SECOND = 5


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


# --- nginx ---


@pytest.fixture(scope="module")
def network(private_engine: PrivateEngine) -> Iterator[Network]:
    made = private_engine.client.networks.create(f"renderings-{secrets.token_hex(4)}")
    yield made
    for container in private_engine.client.containers.list(all=True, filters={"network": str(made.name)}):
        container.remove(force=True)
    made.remove()


@pytest.fixture(scope="module")
def nginx(private_engine: PrivateEngine, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """nginx as it is deployed, but with a low limit, and with no replica anywhere."""
    container = private_engine.client.containers.run(
        IMAGES["nginx"].reference,
        ["nginx", "-c", "/run/promptcraft/nginx.conf", "-g", "daemon off;"],
        volumes=readable(tmp_path_factory.mktemp("nginx"), {"nginx.conf": nginx_conf(REQUESTS_PER_SECOND)}),
        network=str(network.name),
        read_only=True,
        tmpfs={"/tmp": "rw,noexec,nosuid,nodev,size=16m"},
        cap_drop=["ALL"],
        detach=True,
    )
    container.reload()
    until(lambda: not _refused(private_engine, container))
    return container


def _refused(engine: PrivateEngine, container: Container) -> bool:
    try:
        ask(engine, container, "/metrics")
    except ConnectionRefusedError:
        return True
    return False


def ask(
    engine: PrivateEngine, container: Container, path: str, *, port: int = 8080, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for `path` exactly as it is written."""
    (address,) = (told["IPAddress"] for told in container.attrs["NetworkSettings"]["Networks"].values())

    def request() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(address, port, timeout=NETWORK_TIMEOUT)
        connection.putrequest("GET" if body is None else "POST", path)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        told = (answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return told

    return engine.namespace.run(request)


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/Metrics", "//metrics", "/x/../metrics", "/api/../metrics", "/%6detrics", "/metrics/"),
        *("/metrics?x", "/api/%2e%2e/metrics", "/api//x", "/-/reload", "/openapi.json", "/stub_status", "/healthz"),
    ],
)
def test_whatever_is_not_allowed_is_not_found(path: str, nginx: Container, private_engine: PrivateEngine) -> None:
    status, _, body = ask(private_engine, nginx, path)
    assert status == 404
    assert json.loads(body)["error"]["code"] == "not_found"


def test_without_a_replica_nginx_runs_and_says_so(nginx: Container, private_engine: PrivateEngine) -> None:
    status, headers, body = ask(private_engine, nginx, "/health")
    assert status == 502
    assert json.loads(body)["error"]["code"] == "unavailable"
    assert (headers["Server"], headers["X-Frame-Options"]) == ("nginx", "DENY")
    assert len(headers["X-Request-ID"]) == 32
    assert ask(private_engine, nginx, "/healthz", port=8081)[0] == 200
    assert ask(private_engine, nginx, "/stub_status", port=8081)[2].startswith(b"Active connections: ")


def test_a_body_that_is_too_large_is_refused(nginx: Container, private_engine: PrivateEngine) -> None:
    assert ask(private_engine, nginx, "/api/x", body=b"x" * (1024 * 1024 + 1))[0] == 413


def test_who_asks_too_much_is_told_when_to_ask_again(nginx: Container, private_engine: PrivateEngine) -> None:
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: ask(private_engine, nginx, "/health"), range(60)))
    refused = [headers for status, headers, _ in answers if status == 429]
    assert len(refused) >= 20
    assert all(headers["Retry-After"] == "1" and headers["X-Frame-Options"] == "DENY" for headers in refused)


def test_a_replica_that_appears_is_found_without_a_reload(
    nginx: Container, network: Network, private_engine: PrivateEngine
) -> None:
    replica = private_engine.client.containers.create(
        IMAGES["zen-mcp"].reference, ["python3", "-m", "http.server", "7862"], network_mode="none"
    )
    private_engine.client.networks.get("none").disconnect(replica)
    network.connect(replica, aliases=["promptcraft"])
    replica.start()
    until(lambda: b"<title>Error response</title>" in ask(private_engine, nginx, "/health")[2])


def test_the_access_log_is_json_with_the_requests_id(nginx: Container, private_engine: PrivateEngine) -> None:
    _, headers, _ = ask(private_engine, nginx, '/metrics?quote="')

    def written() -> list[tuple[str, int]]:
        lines = map(json.loads, nginx.logs(stderr=False).decode().splitlines())
        return [(line["path"], line["status"]) for line in lines if line["request_id"] == headers["X-Request-ID"]]

    # A line is written once its answer has been sent.
    until(lambda: written() == [("/metrics", 404)])


# --- Prometheus ---

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
    assert "9 rules found" in said


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
