"""Redis and Prometheus on this host's loopback; Qdrant, Zen MCP, Grafana and models on another: used, none declared.

The other host is a network namespace at the end of a cable, with an engine of its own.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import docker
import pytest
import requests
from docker.models.containers import Container

from tests.chat_completions import ANSWER, chat_server
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.waiting import until

pytestmark = pytest.mark.engine

HERE, THERE = "10.77.0.1", "10.77.0.2"
USED = ("redis", "qdrant", "zen-mcp", "prometheus", "grafana")
PASSWORD = "redis-on-the-loopback-51c0"
NO_CHANGES = ("preview", "--refresh", "--expect-no-changes")


@pytest.fixture(scope="module")
def elsewhere(engine: docker.DockerClient, private_engine: PrivateEngine) -> Iterator[PrivateEngine]:
    """Another host: an engine in a namespace of its own, at the other end of a cable."""
    other = PrivateEngine()
    other.prepare()
    other.start()
    private_engine.namespace.wire(other.namespace, f"{HERE}/24", f"{THERE}/24")
    yield other
    other.close()


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project(like="hybrid", config={"monitoring": True, "fallback": False})
    project.environment.update(
        {
            "REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:6379",
            "PROMETHEUS_URL": "http://[::1]:9090",
            "QDRANT_HOST": THERE,
            "QDRANT_PORT": "6333",
            "ZEN_MCP_URL": f"http://{THERE}:8000/mcp",
            "GRAFANA_URL": f"http://{THERE}:3000",
            "OPENAI_BASE_URL": f"http://{THERE}:11434/v1",
        }
    )
    return project


def image_of(project: Project, service: str) -> str:
    document = json.loads((project.root / ".promptcraft" / "images.json").read_text())
    return str(document[service]["reference"])


def run(engine: PrivateEngine, image: str, *command: str, **options: Any) -> Container:
    container: Container = engine.client.containers.run(
        image, list(command) or None, name=f"foreign-{secrets.token_hex(4)}", network="host", detach=True, **options
    )
    return container


def accepts(engine: PrivateEngine, host: str, port: int) -> bool:
    try:
        engine.namespace.run(lambda: socket.create_connection((host, port), timeout=1)).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def redis(project: Project, private_engine: PrivateEngine) -> Iterator[Container]:
    """Redis on the loopback, behind a password that the relay knows nothing of."""
    command = ("redis-server", "--bind", "127.0.0.1", "--requirepass", PASSWORD)
    container = run(private_engine, image_of(project, "redis"), *command)
    yield container
    container.remove(force=True)


@pytest.fixture(scope="module")
def world(
    project: Project, private_engine: PrivateEngine, elsewhere: PrivateEngine, redis: Container
) -> Iterator[None]:
    """Everything that runs already."""
    prometheus = run(
        private_engine,
        image_of(project, "prometheus"),
        *("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
        "--web.listen-address=[::1]:9090",
    )
    run(elsewhere, image_of(project, "qdrant"))
    run(elsewhere, image_of(project, "zen-mcp"), environment={"MCP_ALLOWED_HOSTS": f"{THERE}:*"})
    run(elsewhere, image_of(project, "grafana"), environment={"GF_SECURITY_ADMIN_PASSWORD__FILE": "/etc/hostname"})
    for host, port in (("127.0.0.1", 6379), ("::1", 9090), (THERE, 6333), (THERE, 8000), (THERE, 3000)):
        until(partial(accepts, private_engine, host, port), seconds=90)
    with chat_server(elsewhere, (THERE, 11434)):
        yield
    prometheus.remove(force=True)


def asked_inside(project: Project, url: str, method: str = "GET", body: object = None) -> dict[str, Any]:
    """What a service answers to the application's own container."""
    script = (
        "import sys, urllib.request as r;"
        "url, method, body = sys.argv[1:];"
        "q = r.Request(url, body.encode() or None, {'Content-Type': 'application/json'}, method=method);"
        "print(r.urlopen(q, timeout=20).read().decode())"
    )
    text = json.dumps(body) if body is not None else ""
    app = project.engine.client.containers.get(f"promptcraft-{project.stack}-promptcraft")
    done: Any = app.exec_run(["python3", "-c", script, url, method, text])
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.output)
    return answer


@pytest.fixture(scope="module")
def deployed(project: Project, world: None) -> str:
    up = project.operate("up")
    assert up.code == 0, up.text
    return up.text


def test_nothing_of_theirs_is_declared(deployed: str, project: Project) -> None:
    prefix = f"promptcraft-{project.stack}-"
    names = {str(found.name).removeprefix(prefix) for found in project.containers()}
    assert names == {"promptcraft", "promptcraft-files", "redis-relay", "prometheus-relay"}
    plan = project.outputs()["plan"]
    assert {name: plan[name]["source"] for name in USED} == dict.fromkeys(USED, "external_deployment")
    assert plan["redis"]["endpoint"].startswith("redis://redis-relay:")
    assert plan["qdrant"]["endpoint"] == f"http://{THERE}:6333"
    assert PASSWORD not in deployed + json.dumps(project.outputs())


def test_the_application_finds_all_of_it_well_from_inside(deployed: str, project: Project) -> None:
    told = project.ask(7862, "/api/health/detailed").json()
    assert told["status"] == "ok"
    assert {name: told["services"][name]["status"] for name in USED} == dict.fromkeys(USED, "ok")
    assert all(told["services"][name]["source"] == "external_deployment" for name in USED)
    assert told["services"]["prometheus"]["version"]


def test_a_key_a_vector_and_a_models_answer_really_arrive(
    deployed: str, project: Project, redis: Container, elsewhere: PrivateEngine
) -> None:
    run = project.ask(7862, "/api/agents/summarizer/runs", "POST", json={"input": f"one {secrets.token_hex(4)} two"})
    assert run.status_code == 200 and run.json()["status"] == "succeeded", run.text
    assert run.json()["output"] == ANSWER

    keys: Any = redis.exec_run(["redis-cli", "-a", PASSWORD, "--no-auth-warning", "dbsize"]).output
    assert int(keys.decode().split()[-1]) > 0

    endpoint = project.outputs()["plan"]["qdrant"]["endpoint"]
    collection = f"{endpoint}/collections/hybrid"
    asked_inside(project, collection, "PUT", {"vectors": {"size": 2, "distance": "Cosine"}})
    asked_inside(project, f"{collection}/points?wait=true", "PUT", {"points": [{"id": 1, "vector": [0.6, 0.8]}]})
    point = "http://127.0.0.1:6333/collections/hybrid/points/1"
    assert elsewhere.namespace.run(lambda: requests.get(point, timeout=15)).json()["result"]["id"] == 1


def megabytes_of(container: Container) -> float:
    told: Any = container.stats(stream=False)
    return float(told["memory_stats"]["usage"]) / 2**20


def test_its_limits_are_below_a_gigabyte_and_its_use_is_measured(
    deployed: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = project.outputs()["budget"]
    running = [found for found in project.containers() if found.status == "running"]
    limits = sum(found.attrs["HostConfig"]["Memory"] for found in running) // 2**20
    assert limits == budget["memory_mb"] <= budget["limit_mb"] == 1024
    used = {str(found.name): megabytes_of(found) for found in running}
    with capsys.disabled():
        each = ", ".join(f"{name} {mebibytes:.0f}" for name, mebibytes in sorted(used.items()))
        print(f"\nhybrid: limits {limits} MiB, in use {sum(used.values()):.0f} MiB ({each})")  # noqa: T201 - a figure to read
    assert sum(used.values()) < limits


def test_a_second_up_changes_nothing_though_there_is_data_now(deployed: str, project: Project) -> None:
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    assert "hybrid" in json.loads(project.outputs()["plan"]["qdrant"]["holds"])
    unchanged = project.pulumi(*NO_CHANGES)
    assert unchanged.code == 0, unchanged.text


def test_what_cannot_be_reached_from_inside_ends_up_with_a_clear_line(
    deployed: str, project: Project, private_engine: PrivateEngine
) -> None:
    network = private_engine.client.networks.get(f"promptcraft-{project.stack}-network")
    subnet = network.attrs["IPAM"]["Config"][0]["Subnet"]
    rule = ["FORWARD", "-s", subnet, "-d", THERE, "-p", "tcp", "--dport", "6333", "-j", "DROP"]
    private_engine.namespace.run(lambda: subprocess.run(["iptables", "-I", *rule], check=True))
    try:
        up = project.operate("up")
    finally:
        private_engine.namespace.run(lambda: subprocess.run(["iptables", "-D", *rule], check=True))
    assert up.code == 1
    assert f"qdrant: http://{THERE}:6333 (external_deployment) is down for the application's container:" in up.text


def test_it_leaves_what_it_used_as_it_was(deployed: str, project: Project, redis: Container) -> None:
    down = project.operate("down", PURGE="1")
    assert down.code == 0, down.text
    assert project.containers() == []
    redis.reload()
    assert redis.status == "running"
