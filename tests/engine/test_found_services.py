"""Services that run already: used where containers can reach them, turned down with a reason where they can't."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import requests
from docker.models.containers import Container

from tests.engine.project import Project
from tests.waiting import until

pytestmark = pytest.mark.engine

Run = Callable[..., Container]


@pytest.fixture(scope="module")
def run_foreign(engine: docker.DockerClient) -> Iterator[Run]:
    """Start a container of somebody else's: no label of ours."""
    started: list[Container] = []

    def run(image: str, *command: str, network: str) -> Container:
        container = engine.containers.run(
            image, list(command) or None, name=f"foreign-{secrets.token_hex(4)}", network=network, detach=True
        )
        started.append(container)
        return container

    yield run
    for container in started:
        container.remove(force=True)


@pytest.fixture(scope="module")
def foreign_network(engine: docker.DockerClient) -> Iterator[str]:
    network = engine.networks.create(f"foreign-{secrets.token_hex(4)}")
    yield str(network.name)
    network.reload()
    for container in network.containers:
        network.disconnect(container, force=True)
    network.remove()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[Project]:
    project = Project.create(tmp_path_factory.mktemp("found"))
    yield project
    project.operate("down", PURGE="1")
    project.leave_nothing(engine)


def image_of(project: Project, service: str) -> str:
    document = json.loads((project.root / ".promptcraft" / "images.json").read_text())
    return str(document[service]["reference"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def bridge_address(engine: docker.DockerClient) -> str:
    config = engine.networks.get("bridge").attrs["IPAM"]["Config"][0]
    return str(config.get("Gateway") or config["Subnet"].split("/")[0].rsplit(".", 1)[0] + ".1")


def sources(project: Project) -> dict[str, str]:
    return {service: told["source"] for service, told in project.outputs()["plan"].items()}


def running(project: Project, engine: docker.DockerClient) -> set[str]:
    prefix = f"promptcraft-{project.stack}-"
    return {str(found.name).removeprefix(prefix) for found in project.containers(engine) if found.status == "running"}


def test_what_runs_already_is_used_and_missed_when_it_is_gone(
    project: Project, engine: docker.DockerClient, run_foreign: Run, foreign_network: str
) -> None:
    address, port = bridge_address(engine), free_port()
    redis = run_foreign(
        image_of(project, "redis"),
        *("redis-server", "--bind", address, "--port", str(port), "--protected-mode", "no"),
        network="host",
    )
    qdrant = run_foreign(image_of(project, "qdrant"), network=foreign_network)
    qdrant.reload()
    qdrant_address = qdrant.attrs["NetworkSettings"]["Networks"][foreign_network]["IPAddress"]
    until(lambda: accepts(address, port) and accepts(qdrant_address, 6333))
    named = {"REDIS_URL": f"redis://{address}:{port}", "QDRANT_HOST": qdrant_address}
    project.environment.update(named)

    up = project.operate("up")
    assert up.code == 0, up.text
    assert running(project, engine) == {"promptcraft", "zen-mcp"}
    assert sources(project)["redis"] == sources(project)["qdrant"] == "external_deployment"
    assert project.outputs()["plan"]["redis"]["reason"].startswith("REDIS_URL")
    told = requests.get(project.url(7862, "/api/health/detailed"), timeout=10).json()["services"]
    assert (told["redis"]["status"], told["qdrant"]["status"]) == ("ok", "ok")
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    refreshed = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert refreshed.code == 0, refreshed.text

    for container in (redis, qdrant):
        container.stop(timeout=1)
    preview = project.pulumi("preview")
    assert preview.code == 0, preview.text
    for service, variable in (("redis", "REDIS_URL"), ("qdrant", "QDRANT_HOST")):
        line = next(line for line in preview.text.splitlines() if f"{service}: was external_deployment" in line)
        assert "will be deployed" in line and f"{variable} is unreachable" in line


def test_a_service_on_the_hosts_loopback_is_turned_down_with_that_reason(
    project: Project, engine: docker.DockerClient, run_foreign: Run
) -> None:
    port = free_port()
    run_foreign(image_of(project, "redis"), "redis-server", "--bind", "127.0.0.1", "--port", str(port), network="host")
    until(lambda: accepts("127.0.0.1", port))
    preview = project.pulumi("preview", REDIS_URL=f"redis://127.0.0.1:{port}")
    assert preview.code == 0, preview.text
    assert [
        line
        for line in preview.text.splitlines()
        if f"redis://127.0.0.1:{port}" in line and "turned down" in line and "loopback" in line
    ]


def test_a_port_taken_by_a_stranger_is_named_and_nothing_is_created(
    tmp_path: Path, engine: docker.DockerClient
) -> None:
    project = Project.create(tmp_path)
    with socket.create_server(("127.0.0.1", 6333 + project.offset)):
        up = project.operate("up")
    assert up.code != 0
    assert f"qdrant: port {6333 + project.offset} is held by" in up.text
    assert f"(pid {os.getpid()})" in up.text
    assert project.containers(engine) == []
    assert "Traceback" not in up.text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("colour: 3", "colour: unknown key"),
        ("replicas: -1", "replicas: -1 is refused"),
        ("portOffset: x", "portOffset"),
    ],
)
def test_bad_configuration_is_one_line_before_anything_is_declared(
    line: str, expected: str, tmp_path: Path, engine: docker.DockerClient
) -> None:
    project = Project.create(tmp_path)
    file = project.root / f"Pulumi.{project.stack}.yaml"
    file.write_text(f"config:\n  promptcraft-hybrid:{line}\n")
    up = project.operate("up")
    assert (up.code, len(up.text.splitlines())) == (2, 1)
    assert up.text.startswith(f"{file.name}:2: ") and expected in up.text
    assert project.containers(engine) == []
