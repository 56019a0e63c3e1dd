"""Whatever an operator gets wrong on a stack that runs: one clear line, and nothing is changed."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import yaml

from catalog import LABEL_STACK
from tests.certificates import Pair, make_pair
from tests.engine.project import Project
from tests.scenarios import emulators
from tests.scenarios.impostors import yes_man
from tests.scenarios.servers import Connection, Server

pytestmark = pytest.mark.engine

HOST, TAKEN, QDRANT = "craft.example.com", 18080, 16333
EDGE = {"loadBalancer": True, "publicHosts": [HOST], "tlsCertificate": "tls.pem", "tlsKey": "tls.key"}
OUTSIDE = {"expectedOutside": ["zen-mcp"], "fallback": False}
PANEL = {"title": "Mine", "type": "timeseries", "datasource": {"uid": "prometheus"}, "targets": [{"expr": "rate(up["}]}
DASHBOARD = json.dumps({"uid": "mine", "title": "Mine", "panels": [PANEL]})


def pair(certificate: Pair, key: Pair) -> dict[str, str]:
    return {"tls.pem": certificate.certificate, "tls.key": key.key}


def zen(url: str) -> dict[str, str]:
    return {"ZEN_MCP_URL": url}


@dataclass(frozen=True)
class Mistake:
    """What is wrong, in the stack's configuration, in files of the project or in the environment; and what is said."""

    says: str
    config: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


SOUND = make_pair(HOST)
MISTAKES = {
    "replicas 0": Mistake("replicas: 0 is refused", {"replicas": 0}),
    "a budget exceeded": Mistake("memoryBudgetMb: 400 MiB is less than the 480 MiB", {"memoryBudgetMb": 400}),
    "a broken query": Mistake("'rate(up[' is not PromQL", files={"dashboards/mine.json": DASHBOARD}),
    "a key of another certificate": Mistake(
        "tlsKey: it does not belong to the certificate", EDGE, pair(SOUND, make_pair(HOST))
    ),
    "an expired certificate": Mistake(
        "(CN=test) expired on 20", EDGE, pair(expired := make_pair(HOST, until=timedelta(hours=-1)), expired)
    ),
    "a port taken": Mistake(f"nginx: port {TAKEN} is held by ", {"loadBalancer": True, "publicPort": TAKEN}),
    "a file for a URL": Mistake("has the wrong scheme", OUTSIDE, environment=zen("file:///etc/passwd")),
    "a link-local address": Mistake("link-local", OUTSIDE, environment=zen("http://169.254.169.254/mcp")),
    "a password in a URL": Mistake(
        "carries a user name or password", OUTSIDE, environment=zen("http://user:hunter2@10.0.0.5:8000/mcp")
    ),
    "a host that is none": Mistake(
        "ZEN_MCP_URL: http://nowhere.invalid:8000/mcp is unreachable",
        OUTSIDE,
        environment=zen("http://nowhere.invalid:8000/mcp"),
    ),
    "a package for a shell": Mistake(
        "servers.mine.package",
        files={".mcp/discovery-config.yaml": 'servers:\n  mine:\n    package: "a; touch /tmp/x"\n'},
    ),
    "a port beyond the last": Mistake(
        "portOffset: 50000 puts nginx on port 68080, beyond 65535",
        {"loadBalancer": True, "publicPort": TAKEN, "portOffset": 50000},
    ),
}


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project(config={"services": ["promptcraft", "redis"]})
    up = project.operate("up")
    assert up.code == 0, up.text
    return project


@pytest.fixture(scope="module")
def stranger(project: Project) -> Iterator[None]:
    """Somebody else's, on a port that the stack is told to use."""
    taken = project.inside(lambda: http.server.HTTPServer(("127.0.0.1", TAKEN), http.server.BaseHTTPRequestHandler))
    yield
    taken.server_close()


def everything(project: Project) -> dict[str, Any]:
    """What the engine holds of the stack: containers with their ids and states, networks and volumes."""
    mine = {"label": f"{LABEL_STACK}={project.stack}"}
    client = project.engine.client
    return {
        "containers": {one.name: (one.id, one.status) for one in project.containers()},
        "networks": {one.name: one.id for one in client.networks.list(filters=mine)},
        "volumes": sorted(str(one.name) for one in client.volumes.list(filters=mine)),
    }


@contextlib.contextmanager
def made(mistake: Mistake, project: Project) -> Iterator[None]:
    """The project with the mistake in it, for as long as this lasts."""
    stack_file = f"Pulumi.{project.stack}.yaml"
    document = yaml.safe_load((project.root / stack_file).read_text())
    document["config"] |= {f"promptcraft-hybrid:{key}": value for key, value in mistake.config.items()}
    files = {stack_file: yaml.safe_dump(document), **mistake.files}
    kept = {name: path.read_text() if (path := project.root / name).exists() else None for name in files}
    for name, text in files.items():
        (project.root / name).write_text(text)
    try:
        yield
    finally:
        for name, before in kept.items():
            if before is None:
                (project.root / name).unlink()
            else:
                (project.root / name).write_text(before)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line_and_changes_nothing(name: str, project: Project, stranger: None) -> None:
    mistake, before = MISTAKES[name], everything(project)
    with made(mistake, project):
        refused = project.pulumi("up", "--yes", "--skip-preview", **mistake.environment)
    assert refused.code != 0
    assert [line for line in refused.text.splitlines() if mistake.says in line], refused.text
    assert "Traceback" not in refused.text and "hunter2" not in refused.text
    assert everything(project) == before


def test_who_is_somebody_else_after_the_look_is_not_used(project: Project) -> None:
    looks = project.root / ".promptcraft/looks"
    shutil.rmtree(looks, ignore_errors=True)
    honest, other = emulators.qdrant(), yes_man()

    def talk(connection: Connection) -> None:
        (other if [*looks.glob("*.json")] else honest)(connection)

    address, before = project.engine.bridge, everything(project)
    server = project.inside(lambda: Server(talk, QDRANT, address))
    named = {"QDRANT_HOST": address, "QDRANT_PORT": str(QDRANT)}
    with made(Mistake("", {"services": ["promptcraft", "redis", "qdrant"]}), project):
        refused = project.pulumi("up", "--yes", **named)
    server.close()
    assert refused.code != 0
    said = f"qdrant: http://{address}:{QDRANT} (QDRANT_HOST) was verified in the preview and is another now (impostor: "
    assert said in refused.text, refused.text
    assert everything(project) == before


def test_the_stack_is_as_it_was(project: Project) -> None:
    preview = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert preview.code == 0, preview.text
