"""Services of somebody else's that ask who comes: a password over TLS, an API key, a bearer token over TLS."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat_completions import ChatServer
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.engine.test_found_services import accepts, image_of
from tests.exposure import exposed
from tests.scenarios.servers import Connection, Server, Talk
from tests.scenarios.tls import certificate
from tests.waiting import until

pytestmark = pytest.mark.engine

REDIS, MCP, PLAIN_MCP, API = 16380, 18443, 18000, 7862
SECRETS = {"redisPassword": "redis-secret-0d4b", "qdrantApiKey": "qdrant-secret-77e1", "zenMcpToken": "zen-secret-c5f2"}
SERVICES = {"redisPassword": "redis", "qdrantApiKey": "qdrant", "zenMcpToken": "zen-mcp"}


def forwarder(host: str, port: int) -> Talk:
    """Carries what it is told to a server without TLS, and back."""

    def talk(connection: Connection) -> None:
        with socket.create_connection((host, port)) as behind:
            back = threading.Thread(target=_pump, args=(behind.recv, connection.write), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                _pump(connection.read, behind.sendall)
            behind.shutdown(socket.SHUT_WR)
            back.join()

    return talk


def _pump(read: Callable[[int], bytes], write: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := read(65536):
            write(data)


@pytest.fixture(scope="module")
def project(
    new_project: Callable[..., Project],
    private_engine: PrivateEngine,
    models: ChatServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    """A stack that is told of a Redis, a Qdrant and a Zen MCP elsewhere, and of what opens them."""
    project = new_project(config={"caFile": "authorities.pem"})
    client, address = private_engine.client, private_engine.bridge
    folder = tmp_path_factory.mktemp("outside")
    tls = certificate(folder, address)
    (project.root / "authorities.pem").write_bytes((folder / "cert.pem").read_bytes())
    for name in ("qdrantApiKey", "zenMcpToken"):
        (folder / SERVICES[name]).write_text(SECRETS[name])
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    mark = secrets.token_hex(4)
    files: Any = {str(folder): {"bind": "/run/promptcraft/secrets", "mode": "ro"}}
    network = client.networks.create(f"outside-{mark}")
    pem = "/run/promptcraft/secrets"
    redis = ["redis-server", "--bind", address, "--port", "0", "--tls-port", str(REDIS), "--tls-auth-clients", "no"]
    redis += ["--tls-cert-file", f"{pem}/cert.pem", "--tls-key-file", f"{pem}/key.pem"]
    redis += ["--tls-ca-cert-file", f"{pem}/cert.pem", "--requirepass", SECRETS["redisPassword"]]
    started = [
        client.containers.run(
            image_of(project, "redis"), redis, name=f"outside-redis-{mark}", network="host", volumes=files, detach=True
        ),
        client.containers.run(
            image_of(project, "qdrant"), name=f"outside-qdrant-{mark}", network=network.name, volumes=files, detach=True
        ),
        client.containers.run(
            image_of(project, "zen-mcp"),
            name=f"outside-zen-{mark}",
            ports={"8000/tcp": ("127.0.0.1", PLAIN_MCP)},
            environment={"MCP_ALLOWED_HOSTS": f"{address}:*"},
            volumes=files,
            detach=True,
        ),
    ]
    started[1].reload()
    qdrant = started[1].attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
    until(lambda: all(accepts(project, *it) for it in ((address, REDIS), (qdrant, 6333), ("127.0.0.1", PLAIN_MCP))), 60)
    front = project.inside(lambda: Server(forwarder("127.0.0.1", PLAIN_MCP), MCP, address, tls))
    project.environment.update(
        REDIS_URL=f"rediss://{address}:{REDIS}",
        QDRANT_HOST=qdrant,
        ZEN_MCP_URL=f"https://{address}:{MCP}",
        OPENAI_BASE_URL=models.url,
    )
    assert project.operate("init").code == 0
    for key, value in SECRETS.items():
        assert project.pulumi("config", "set", "--secret", key, value).code == 0
    yield project
    front.close()
    for container in started:
        container.remove(force=True)


@pytest.fixture(scope="module")
def deployed(project: Project) -> Done:
    done = project.operate("up")
    assert done.code == 0, done.text
    return done


@pytest.mark.parametrize("key", SECRETS)
def test_a_wrong_secret_is_an_error_before_anything_is_declared(key: str, project: Project) -> None:
    assert project.pulumi("config", "set", "--secret", key, "wrong-0123456789").code == 0
    for command in ("preview", "up"):
        refused = project.operate(command)
        line = next(
            (line for line in refused.text.splitlines() if f"{SERVICES[key]}: " in line and "refused" in line), ""
        )
        assert refused.code != 0 and line, refused.text
        assert "wrong-0123456789" not in refused.text
    assert project.containers() == []
    assert project.pulumi("config", "set", "--secret", key, SECRETS[key]).code == 0


def test_what_the_right_secrets_open_is_used_by_the_application(deployed: Done, project: Project) -> None:
    sources = {name: told["source"] for name, told in project.outputs()["plan"].items() if told["source"] != "omitted"}
    external = dict.fromkeys((*SERVICES.values(), "models"), "external_deployment")
    assert sources == {"promptcraft": "deployed"} | external
    told = project.ask(API, "/api/health/detailed").json()["services"]
    assert {name: told[name]["status"] for name in SERVICES.values()} == dict.fromkeys(SERVICES.values(), "ok"), told
    runs = [project.ask(API, "/api/agents/ai-engineer/runs", "POST", json={"input": "hello"}).json() for _ in range(2)]
    assert [(run["status"], run["cached"]) for run in runs] == [("succeeded", False), ("succeeded", True)]
    again = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert again.code == 0, again.text


def test_no_secret_stands_in_the_open(deployed: Done, project: Project) -> None:
    assert exposed(project, [*SECRETS.values()], deployed.text, json.dumps(project.outputs())) == []


def test_without_its_authority_a_certificate_proves_nothing(deployed: Done, project: Project, tmp_path: Path) -> None:
    certificate(tmp_path, "another.example")
    kept = (project.root / "authorities.pem").read_bytes()
    (project.root / "authorities.pem").write_bytes((tmp_path / "cert.pem").read_bytes())
    found = project.discover()["services"]["redis"]
    (project.root / "authorities.pem").write_bytes(kept)
    assert found["selected"] is None
    assert [it["reason"] for it in found["candidates"] if it["evidence"] == "REDIS_URL"] == [
        "TLS: self-signed certificate; name a file of its authority in caFile"
    ]
