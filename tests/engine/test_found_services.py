"""Services that run already: used where containers can reach them, turned down with a reason where they can't."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator

import pytest
from docker.models.containers import Container

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.hardening import broken_rows
from tests.waiting import until

pytestmark = pytest.mark.engine

Run = Callable[..., Container]

# Written by `pulumi stack init` under a passphrase that nobody has any more.
ANOTHER_STATES_SALT = "v1:eDFqoAaAAyI=:v1:NiX5kupQwmgeB4mQ:hS4mGd4SdULS+OuW4Gci7KmGaKRmxw=="


@pytest.fixture(scope="module")
def run_foreign(private_engine: PrivateEngine) -> Iterator[Run]:
    """Start a container of somebody else's: no label of ours."""
    started: list[Container] = []

    def run(image: str, *command: str, network: str) -> Container:
        container = private_engine.client.containers.run(
            image, list(command) or None, name=f"foreign-{secrets.token_hex(4)}", network=network, detach=True
        )
        started.append(container)
        return container

    yield run
    for container in started:
        container.remove(force=True)


@pytest.fixture(scope="module")
def foreign_network(private_engine: PrivateEngine) -> str:
    """The name of a network that is nobody's of ours."""
    return str(private_engine.client.networks.create(f"foreign-{secrets.token_hex(4)}").name)


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    return new_project()


def image_of(project: Project, service: str) -> str:
    document = json.loads((project.root / ".promptcraft" / "images.json").read_text())
    return str(document[service]["reference"])


def accepts(project: Project, host: str, port: int) -> bool:
    try:
        project.inside(lambda: socket.create_connection((host, port), timeout=1)).close()
    except OSError:
        return False
    return True


def sources(project: Project) -> dict[str, str]:
    return {service: told["source"] for service, told in project.outputs()["plan"].items()}


def running(project: Project) -> set[str]:
    prefix = f"promptcraft-{project.stack}-"
    return {str(found.name).removeprefix(prefix) for found in project.containers() if found.status == "running"}


def test_what_runs_already_is_used_and_missed_when_it_is_gone(
    project: Project, private_engine: PrivateEngine, run_foreign: Run, foreign_network: str
) -> None:
    address, port = "127.0.0.1", 16379
    redis = run_foreign(
        image_of(project, "redis"), *("redis-server", "--bind", address, "--port", str(port)), network="host"
    )
    qdrant = run_foreign(image_of(project, "qdrant"), network=foreign_network)
    qdrant.reload()
    qdrant_address = qdrant.attrs["NetworkSettings"]["Networks"][foreign_network]["IPAddress"]
    until(lambda: accepts(project, address, port) and accepts(project, qdrant_address, 6333))
    named = {"REDIS_URL": f"redis://{address}:{port}", "QDRANT_HOST": qdrant_address}
    project.environment.update(named)

    up = project.operate("up")
    assert up.code == 0, up.text
    assert running(project) == {"promptcraft", "zen-mcp", "redis-relay"}
    assert sources(project)["redis"] == sources(project)["qdrant"] == "external_deployment"
    assert project.outputs()["plan"]["redis"]["reason"].startswith("REDIS_URL")
    assert broken_rows(project) == []
    told = project.ask(7862, "/api/health/detailed").json()["services"]
    assert (told["redis"]["status"], told["qdrant"]["status"]) == ("ok", "ok")
    assert told["redis"]["endpoint"] == "redis://redis-relay:21379"
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    refreshed = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert refreshed.code == 0, refreshed.text

    redis.stop(timeout=1)
    preview = project.pulumi("preview")
    assert preview.code == 0, preview.text
    line = next(line for line in preview.text.splitlines() if "redis: was external_deployment" in line)
    assert "will be deployed" in line and "REDIS_URL is unreachable" in line
    # What keeps data is not exchanged for an empty one without a word.
    qdrant.stop(timeout=1)
    preview = project.pulumi("preview")
    assert preview.code != 0
    assert "is in use, but QDRANT_HOST is unreachable" in preview.text and "'pin.qdrant' deployed" in preview.text


def test_a_relay_serves_the_stacks_own_network_only(
    project: Project, private_engine: PrivateEngine, run_foreign: Run
) -> None:
    port = 16379
    run_foreign(image_of(project, "redis"), "redis-server", "--bind", "127.0.0.1", "--port", str(port), network="host")
    until(lambda: accepts(project, "127.0.0.1", port))
    network = private_engine.client.networks.get(f"promptcraft-{project.stack}-network")
    (ipam,) = network.attrs["IPAM"]["Config"]
    assert accepts(project, ipam["Gateway"], 21379)
    assert not accepts(project, "127.0.0.1", 21379)
    ping = ["redis-cli", "-h", ipam["Gateway"], "-p", "21379", "ping"]

    def said(network: str) -> str:
        container = run_foreign(image_of(project, "redis"), *ping, network=network)
        container.wait(timeout=60)
        return container.logs().decode()

    assert "PONG" in said(str(network.name))
    assert "PONG" not in said("bridge")


def test_a_port_taken_by_a_stranger_is_named_and_nothing_is_created(new_project: Callable[..., Project]) -> None:
    project = new_project()
    with project.inside(lambda: socket.create_server(("127.0.0.1", 6333))):
        up = project.operate("up")
    assert up.code != 0
    assert "qdrant: port 6333 is held by" in up.text
    assert f"(pid {os.getpid()})" in up.text
    assert project.containers() == []
    assert "Traceback" not in up.text


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("Pulumi.STACK.yaml", "config:\n  promptcraft-hybrid:colour: 3\n", ":2: colour: unknown key"),
        ("Pulumi.STACK.yaml", "config:\n  promptcraft-hybrid:replicas: -1\n", ":2: replicas: -1 is refused"),
        ("Pulumi.STACK.yaml", "config:\n  promptcraft-hybrid:portOffset: x\n", ":2: portOffset: 'x' is refused"),
        ("Pulumi.STACK.yaml", "config: [\n", ":2: file: is not YAML"),
        (
            ".promptcraft/stacks/Pulumi.STACK.yaml",
            f"encryptionsalt: {ANOTHER_STATES_SALT}\n",
            ": encryptionsalt: belongs to another state",
        ),
        (".env", 'A=1\nQDRANT_HOST="not closed\n', ":2: QDRANT_HOST: its quotes"),
        (".mcp/discovery-config.yaml", "servers:\n  zen-mcp:\n    priority: 1\n", ":3: servers.zen-mcp.priority"),
        (".agents/discovery-config.yaml", "agents: 3\n", ":1: agents"),
    ],
)
def test_bad_configuration_is_one_line_before_anything_is_declared(
    file: str, text: str, expected: str, new_project: Callable[..., Project]
) -> None:
    project = new_project()
    name = file.replace("STACK", project.stack)
    (project.root / name).parent.mkdir(exist_ok=True)
    (project.root / name).write_text(text)
    up = project.operate("up")
    assert (up.code, len(up.text.splitlines())) == (2, 1), up.text
    assert up.text.startswith(f"{name}{expected}")
    assert project.containers() == []
