"""The production stack for real: deployed once with a generated password, then asked what an operator would ask."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from catalog import EXPORTERS, LABEL_SERVICE
from rendering.nginx_conf import QUICK_PATHS
from tests.builders import ROOT, settings_of
from tests.chat_completions import ChatServer
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.exposure import exposed
from tests.hanging import hang, healthy_since
from tests.hardening import broken_rows
from tests.waiting import until

pytestmark = pytest.mark.engine

SECRETS = {
    "ZEN_MCP_TOKEN": "zen-secret-5a0e",
    "PERPLEXITY_API_KEY": "perplexity-secret-83bb",
    "SENTRY_AUTH_TOKEN": "sentry-secret-f2d0",
}
GENERATED = ("grafanaPassword", "gatewayTokens", "redisPassword", "qdrantApiKey")
SERVICES = ("promptcraft", "redis", "zen-mcp", "qdrant", "nginx", "prometheus", "grafana")
NGINX, API = 80, 7862
RUN = "/api/agents/ai-engineer/runs"
REPLICAS = 3


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], models: ChatServer) -> Project:
    project = new_project(like="production")
    project.environment.update(GRAFANA_PASSWORD="", GATEWAY_TOKENS="", OPENAI_BASE_URL=models.url, **SECRETS)
    return project


@pytest.fixture(scope="module")
def authorized(deployed: Done, project: Project) -> dict[str, str]:
    """The header that the generated token makes."""
    return {"Authorization": f"Bearer {project.pulumi('config', 'get', 'gatewayTokens').text.strip()}"}


@pytest.fixture(scope="module")
def outside(private_engine: PrivateEngine) -> str:
    """An address of the engine's host that is not its loopback."""
    return private_engine.bridge


def status_of(project: Project, path: str) -> int:
    """nginx's answer to `path` exactly as it is written: requests would tidy it up."""

    def ask() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", NGINX, timeout=10)
        connection.putrequest("GET", path)
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status

    return project.inside(ask)


def targets(project: Project) -> list[tuple[str, str]]:
    """Job and health of everything that Prometheus scrapes."""
    active = project.ask(9090, "/api/v1/targets").json()["data"]["activeTargets"]
    return [(target["labels"]["job"], target["health"]) for target in active]


def test_up_ends_with_a_table_of_seven_healthy_services_and_the_models(deployed: Done, project: Project) -> None:
    table = deployed.text[deployed.text.rindex("PromptCraft ·") :]
    assert table.count(" ok ") == len(SERVICES) + 1, deployed.text
    health = {
        str(found.name): found.attrs["State"]["Health"]["Status"]
        for found in project.containers()
        if found.status == "running"
    }
    assert len(health) == len(SERVICES) - 1 + REPLICAS + len(EXPORTERS)
    assert set(health.values()) == {"healthy"}


def test_every_container_is_hardened(deployed: Done, project: Project) -> None:
    assert broken_rows(project) == []


# Tries every port that a stack could publish without an offset.
SCAN = """
import socket, sys
for port in range(1, 10001):
    with socket.socket() as client:
        client.settimeout(2)
        if client.connect_ex((sys.argv[1], port)) == 0:
            print(port)
"""


def test_beyond_loopback_only_nginx_listens(
    deployed: Done, project: Project, outside: str, private_engine: PrivateEngine
) -> None:
    """Seen from a container in another network, which is another network namespace."""
    image = settings_of("production").images["promptcraft"].reference
    open_ports = private_engine.client.containers.run(image, ["python3", "-c", SCAN, outside], remove=True)
    assert open_ports.split() == [str(NGINX).encode()]


def test_the_page_and_the_api_answer_through_nginx(project: Project, authorized: dict[str, str]) -> None:
    page = project.ask(NGINX, "/")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Server"] == "nginx"
    head = project.ask(NGINX, "/", "HEAD")
    assert (head.status_code, head.content, head.headers["Content-Type"]) == (200, b"", page.headers["Content-Type"])
    assert project.ask(NGINX, "/health", "HEAD").status_code == 200
    assert project.inside(first_line_without_a_host).startswith(b"HTTP/1.1 200 ")
    assert project.inside(lambda: first_event(authorized)).startswith(b"event: state")


def test_the_world_is_told_the_status_and_who_has_the_token_all(project: Project, authorized: dict[str, str]) -> None:
    stranger = project.ask(NGINX, "/api/health/detailed", headers={"Authorization": "Bearer promptcraft"})
    assert project.ask(NGINX, "/api/health/detailed").json() == stranger.json() == {"status": "ok"}
    # What the client says of proxies is not passed on.
    for headers in (authorized, {**authorized, "X-Forwarded-For": ""}):
        told = project.ask(NGINX, "/api/health/detailed", headers=headers).json()
        assert told["services"].keys() >= {"redis", "qdrant", "zen-mcp"}
    # By this the table of `make up` and scripts/health-check.sh know what runs.
    assert project.ask(API, "/api/health/detailed").json().keys() == told.keys()
    for headers in ({"X-Forwarded-For": ""}, {"Connection": "X-Forwarded-For"}, {"X_Forwarded_For": "1.2.3.4"}):
        assert project.ask(NGINX, "/api/health/detailed", headers=headers).json() == {"status": "ok"}


# Together more than what nginx has to write to.
UPLOADS = 20


def test_who_has_no_token_is_refused_before_the_body_is_there(project: Project, authorized: dict[str, str]) -> None:
    body = json.dumps({"input": "x" * 150_000}).encode()
    length = f"Content-Length: {2**20}\r\n"
    chunked = f"Transfer-Encoding: chunked\r\n\r\n{2**20 - 1:x}"
    rests = (f"1.1\r\n{length}", f"1.1\r\n{length}Expect: 100-continue\r\n", f"1.0\r\n{length}", f"1.1\r\n{chunked}")

    def refused(rest: str) -> tuple[socket.socket, int, object]:
        connection = socket.create_connection(("127.0.0.1", NGINX), timeout=15)
        version, lines = rest.split("\r\n", 1)
        head = f"POST {RUN}?token=in-a-query HTTP/{version}\r\nHost: localhost\r\n{lines}\r\n"
        connection.sendall(head.encode() + b" " * (2**20 - 2))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return connection, answer.status, json.loads(answer.read())["error"]["code"]

    def asked() -> list[tuple[int, object]]:
        begun = [refused(rest) for _ in range(UPLOADS // len(rests)) for rest in rests]
        # The first run of all: a replica loads what speaks to models, which takes a busy machine long.
        connection = http.client.HTTPConnection("127.0.0.1", NGINX, timeout=120)
        connection.request("POST", RUN, body, {"Content-Type": "application/json", **authorized})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        for unfinished, _, _ in begun:
            unfinished.close()
        assert {(status, code) for _, status, code in begun} == {(401, "unauthorized")}
        return [(answer.status, told.get("status"))]

    assert project.inside(asked) == [(200, "succeeded")]
    nginx = project.engine.client.containers.get(f"promptcraft-{project.stack}-nginx")
    assert b"in-a-query" not in nginx.logs()


def test_agents_run_for_who_has_the_token_and_for_nobody_else(project: Project, authorized: dict[str, str]) -> None:
    refused = [
        project.ask(NGINX, path, method, json=body, headers=headers)
        for path, method, body in ((RUN, "POST", {"input": "hello"}), ("/api/agents/available", "GET", None))
        for headers in (None, {"Authorization": "Bearer promptcraft"})
    ]
    assert {answer.status_code for answer in refused} == {401}
    done = project.ask(NGINX, RUN, "POST", json={"input": "hello"}, headers=authorized)
    assert (done.status_code, done.json()["status"]) == (200, "succeeded"), done.text


def first_line_without_a_host() -> bytes:
    with socket.create_connection(("127.0.0.1", NGINX), timeout=15) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        return connection.makefile("rb").readline()


def first_event(authorized: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", NGINX, timeout=5)
    connection.request("GET", "/api/events", headers={"Accept": "text/event-stream", **authorized})
    line = connection.getresponse().readline()
    connection.close()
    return line


@pytest.mark.parametrize("path", ["/metrics", "/Metrics", "//metrics", "/x/../metrics", "/%6detrics", "/-/reload"])
def test_there_is_no_way_to_the_metrics(path: str, deployed: Done, project: Project) -> None:
    assert status_of(project, path) == 404


@pytest.mark.parametrize(
    ("port", "method", "path", "status"),
    [
        *((9090, "POST", path, 403) for path in ("/-/reload", "/-/quit")),
        (6333, "GET", "/collections", 401),
        (8000, "POST", "/mcp", 401),
        (3000, "GET", "/api/org", 401),
        (NGINX, "GET", "/env", 404),
        (NGINX, "GET", "/api/env", 401),
    ],
)
def test_what_is_not_for_everybody_is_refused(
    port: int, method: str, path: str, status: int, deployed: Done, project: Project
) -> None:
    assert project.ask(port, path, method, json={} if method == "POST" else None).status_code == status


# What an MCP server of the stack could try: it is on the same network.
INTRUDE = """
import socket, urllib.request, urllib.error
with socket.create_connection(("redis", 6379), timeout=5) as redis:
    redis.sendall(b"GET x\\r\\n")
    print(redis.recv(100).decode().split()[0])
request = urllib.request.Request("http://qdrant:6333/collections")
try:
    print(urllib.request.urlopen(request, timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_no_neighbour_reads_sessions_or_vectors(
    deployed: Done, project: Project, private_engine: PrivateEngine
) -> None:
    image = settings_of("production").images["promptcraft"].reference
    said: bytes = private_engine.client.containers.run(
        image, ["python3", "-c", INTRUDE], network=f"promptcraft-{project.stack}-network", remove=True
    )
    assert said.split() == [b"-NOAUTH", b"401"]


@pytest.mark.parametrize(
    ("port", "path"),
    [
        (9090, "/api/v1/status/buildinfo"),
        (6333, "/readyz"),
        (3000, "/api/health"),
        (8000, "/health"),
        (7862, "/health"),
    ],
)
def test_no_page_of_another_origin_may_read_an_answer(port: int, path: str, deployed: Done, project: Project) -> None:
    answer = project.ask(port, path, headers={"Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("port", "method", "path", "status"),
    [
        # The application and Zen know their names; Qdrant and Grafana ask for a key that no page has.
        (7860, "GET", "/", 421),
        (7862, "GET", "/api/agents/available", 421),
        (8000, "POST", "/mcp", 401),
        (6333, "GET", "/collections", 401),
        (3000, "GET", "/api/dashboards", 401),
    ],
)
def test_a_name_that_a_page_bound_to_the_loopback_gets_nothing(
    port: int, method: str, path: str, status: int, deployed: Done, project: Project
) -> None:
    rebound = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
    answer = project.ask(port, path, method, json={} if method == "POST" else None, headers=rebound)
    assert answer.status_code == status


def test_nginx_reaches_every_replica(project: Project, authorized: dict[str, str]) -> None:
    def asked() -> set[str]:
        for _ in range(20):
            project.ask(NGINX, "/api/agents/available", headers=authorized)
        query = quote('promptcraft_http_requests_total{route="/api/agents/available"}')
        series = project.ask(9090, f"/api/v1/query?query={query}").json()["data"]["result"]
        return {entry["metric"]["instance"] for entry in series}

    until(lambda: len(asked()) == REPLICAS)


def test_all_that_only_looks_is_asked_elsewhere_in_time(deployed: Done, project: Project) -> None:
    paths: dict[str, dict[str, object]] = project.ask(API, "/openapi.json").json()["paths"]
    looks = {path for path, methods in paths.items() if "get" in methods and path.startswith("/api/")}
    assert {path for path in looks if not re.search(QUICK_PATHS, path)} == {"/api/events"}
    # What is worked on takes its time.
    assert not re.search(QUICK_PATHS, RUN)


def test_prometheus_scrapes_every_replica_and_no_alert_is_on(deployed: Done, project: Project) -> None:
    others = ("grafana", "nginx", "nginx-exporter", "prometheus", "qdrant", "redis-exporter", "zen-mcp")
    expected = sorted([*((job, "up") for job in others), *[("promptcraft", "up")] * REPLICAS])
    until(lambda: sorted(targets(project)) == expected)
    rules = project.ask(9090, "/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert "firing" not in {rule["state"] for rule in rules}


def test_grafana_runs_every_panel_for_its_administrator_only(deployed: Done, project: Project) -> None:
    assert project.ask(3000, "/api/health").json()["database"] == "ok"
    assert project.ask(3000, "/api/dashboards").status_code == 401
    assert project.ask(3000, "/api/dashboards", headers=administrator("admin")).status_code == 401
    password = project.pulumi("config", "get", "grafanaPassword").text.strip()
    panels = project.ask(3000, "/api/panels", headers=administrator(password)).json()
    dashboards = [json.loads(file.read_text()) for file in (ROOT / "dashboards").glob("*.json")]
    assert {panel["panel"] for panel in panels} == {it["title"] for board in dashboards for it in board["panels"]}
    assert {panel["status"] for panel in panels} == {"success"}


def test_every_services_memory_and_cpu_time_is_known(deployed: Done, project: Project) -> None:
    memory = "process_resident_memory_bytes or redis_memory_used_rss_bytes or memory_resident_bytes"
    cpu = "process_cpu_seconds_total or redis_cpu_user_seconds_total"

    def told(query: str) -> set[str]:
        series = project.ask(9090, f"/api/v1/query?query={quote(query)}").json()["data"]["result"]
        return {entry["metric"]["job"] for entry in series if float(entry["value"][1]) > 0}

    jobs = {*SERVICES, "redis-exporter"} - {"redis"}
    until(lambda: told(memory) >= jobs)
    until(lambda: told(cpu) >= jobs - {"qdrant"})  # Qdrant does not tell
    until(lambda: told("nginx_http_requests_total or redis_memory_max_bytes") == set(EXPORTERS))


def administrator(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()}


def test_no_secret_stands_anywhere_in_the_open(deployed: Done, project: Project) -> None:
    generated = [project.pulumi("config", "get", key).text.strip() for key in GENERATED]
    assert all(len(secret) >= 24 for secret in generated)
    told = [deployed.text, json.dumps(project.discover()), project.ask(9090, "/api/v1/status/config").text]
    assert exposed(project, [*SECRETS.values(), *generated], *told) == []


def test_a_second_up_and_a_refresh_change_nothing(deployed: Done, project: Project) -> None:
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    refreshed = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert refreshed.code == 0, refreshed.text


def test_a_replica_that_dies_is_not_missed(deployed: Done, project: Project, private_engine: PrivateEngine) -> None:
    replica = private_engine.client.containers.get(f"promptcraft-{project.stack}-promptcraft-2")
    replica.kill("SIGKILL")
    statuses = [project.ask(NGINX, "/health").status_code for _ in range(30)]
    assert set(statuses) == {200}


def test_a_replica_that_hangs_is_asked_in_vain_for_seconds_and_ended(
    deployed: Done, project: Project, authorized: dict[str, str], private_engine: PrivateEngine
) -> None:
    replica = private_engine.client.containers.get(f"promptcraft-{project.stack}-promptcraft-3")
    until(lambda: healthy_since(replica) is not None)
    before, begun = healthy_since(replica), time.monotonic()
    hang(replica)

    def look() -> tuple[int, bool]:
        asked = time.monotonic()
        status = project.ask(NGINX, "/api/agents/available", headers=authorized).status_code
        return status, time.monotonic() - asked < 8

    def work(number: int) -> int:
        answer = project.ask(NGINX, RUN, "POST", json={"input": f"hung {number}"}, headers=authorized, seconds=60)
        return answer.status_code

    def is_back() -> bool:
        assert look() == (200, True)
        return healthy_since(replica) not in (None, before)

    with ThreadPoolExecutor(9) as people:
        working = [people.submit(work, number) for number in range(9)]
        until(is_back, seconds=60)
        statuses = [future.result() for future in working]
    assert time.monotonic() - begun < 60
    # Nobody knows whether what was sent to it had begun, so it is not asked of another.
    assert 200 in statuses and set(statuses) <= {200, 502}
    assert {look() for _ in range(20)} == {(200, True)}
    # Whoever answers, however busy this machine is, is left alone.
    others = [one for one in project.containers() if one.labels[LABEL_SERVICE] != "promptcraft"]
    assert {str(one.name): one.attrs["RestartCount"] for one in others if one.attrs["RestartCount"]} == {}
