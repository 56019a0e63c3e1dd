"""One deployed stack while the world around it changes: what preview says, what `up` does, and what never happens.

Each row starts from what the row before left deployed. Qdrant holds data, so giving it up needs a pin; Zen MCP holds
none, so it comes and goes with one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.scenarios.emulators import legacy_mcp, promptcraft, qdrant
from tests.scenarios.namespace import ip
from tests.scenarios.servers import Server, Talk

pytestmark = pytest.mark.engine

# Addresses of the engine's host that are no loopback.
HERE, THERE = "10.78.0.1", "10.78.0.2"
A, B, Z = (HERE, 6333), (THERE, 6333), (HERE, 8000)
KEY = "a-key-that-came-later"

Places = Mapping[tuple[str, int], Talk]

DOCS = qdrant("1.13.0", collections=["docs", "notes"])
ZEN = legacy_mcp("zen")


@dataclass(frozen=True)
class Change:
    """A state of the world, and the lines that preview must say of it; `refused` is what never happens.

    After `up`, `sources` says where each service comes from and `runs` which containers this stack has.
    """

    what: str
    world: Places
    says: tuple[str, ...]
    sources: tuple[str, str] = ("external_deployment", "external_deployment")
    runs: frozenset[str] = frozenset()
    refused: bool = False
    pin: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: {"QDRANT_HOST": HERE})


CHANGES = (
    Change(
        "it changes its version",
        {A: DOCS, Z: ZEN},
        (f"qdrant: external_deployment http://{HERE}:6333 runs version 1.13.0 now, was 1.12.0",),
    ),
    Change(
        "it needs a password from now on",
        {A: qdrant("1.13.0", key=KEY, collections=["docs"]), Z: ZEN},
        ("QDRANT_HOST is auth_required", "set QDRANT_API_KEY", "'pin.qdrant' deployed"),
        refused=True,
    ),
    Change(
        "it is given the password, and has lost one of its collections",
        {A: qdrant("1.13.0", key=KEY, collections=["docs"]), Z: ZEN},
        (f"qdrant: external_deployment http://{HERE}:6333 no longer holds notes",),
        environment={"QDRANT_HOST": HERE, "QDRANT_API_KEY": KEY},
    ),
    Change(
        "somebody else answers in its place",
        {A: promptcraft(), Z: ZEN},
        (f"qdrant: external_deployment http://{HERE}:6333 is in use, but QDRANT_HOST is impostor",),
        refused=True,
    ),
    Change(
        "it loses its data, or is a new one at the same address",
        {A: qdrant("1.13.0"), Z: ZEN},
        ("has lost its data, or is another", "docs", f"'pin.qdrant' http://{HERE}:6333"),
        refused=True,
    ),
    Change(
        "it disappears",
        {Z: ZEN},
        ("is in use, but QDRANT_HOST is unreachable", "this stack's own, which does not have its data"),
        refused=True,
    ),
    Change(
        "it moves with its data",
        {B: DOCS, Z: ZEN},
        (f"was external_deployment http://{HERE}:6333, will be external_deployment http://{THERE}:6333",),
        environment={"QDRANT_HOST": THERE},
    ),
    Change(
        "its name leads to an empty one",
        {A: qdrant("1.13.0"), Z: ZEN},
        (
            f"external_deployment http://{THERE}:6333 is in use, but",
            f"http://{HERE}:6333, which does not have its data",
        ),
        refused=True,
    ),
    Change(
        "what holds no data disappears",
        {B: DOCS},
        ("zen-mcp: was external_deployment", "will be deployed http://zen-mcp:8000/mcp: ZEN_MCP_URL is unreachable"),
        sources=("external_deployment", "deployed"),
        runs=frozenset({"zen-mcp"}),
        environment={"QDRANT_HOST": THERE},
    ),
    Change(
        "and comes back",
        {B: DOCS, Z: ZEN},
        ("zen-mcp: was deployed http://zen-mcp:8000/mcp, will be external_deployment",),
        environment={"QDRANT_HOST": THERE},
    ),
    Change(
        "it disappears, and a pin says that an own one is wanted",
        {Z: ZEN},
        (f"qdrant: was external_deployment http://{THERE}:6333, will be deployed http://qdrant:6333",),
        sources=("deployed", "external_deployment"),
        runs=frozenset({"qdrant"}),
        pin="deployed",
        environment={"QDRANT_HOST": THERE},
    ),
    Change(
        "it comes back, and the pin holds",
        {B: DOCS, Z: ZEN},
        (),
        sources=("deployed", "external_deployment"),
        runs=frozenset({"qdrant"}),
        pin="deployed",
        environment={"QDRANT_HOST": THERE},
    ),
    Change(
        "without the pin, own data is kept all the same",
        {B: DOCS, Z: ZEN},
        (f"external_deployment http://{THERE}:6333 is there, but this stack's own qdrant holds data; kept",),
        sources=("deployed", "external_deployment"),
        runs=frozenset({"qdrant"}),
        environment={"QDRANT_HOST": THERE},
    ),
    Change(
        "a pin changes over, and own data stays in its volume",
        {B: DOCS, Z: ZEN},
        (f"qdrant: was deployed http://qdrant:6333, will be external_deployment http://{THERE}:6333",),
        pin="external_deployment",
        environment={"QDRANT_HOST": THERE},
    ),
)


class World:
    """What answers at each place, inside of the engine's namespace."""

    def __init__(self, engine: PrivateEngine) -> None:
        self._engine = engine
        self._servers: list[Server] = []

    def become(self, places: Places) -> None:
        self.end()
        for (host, port), talk in places.items():
            self._servers.append(self._engine.namespace.run(partial(Server, talk, port, host)))

    def end(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()


@pytest.fixture(scope="module")
def world(private_engine: PrivateEngine) -> Iterator[World]:
    for address in (HERE, THERE):
        private_engine.namespace.run(partial(ip, "address", "add", f"{address}/32", "dev", "lo"))
    world = World(private_engine)
    yield world
    world.end()
    for address in (HERE, THERE):
        private_engine.namespace.run(partial(ip, "address", "del", f"{address}/32", "dev", "lo"))


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], world: World) -> Project:
    project = new_project(config={"services": ["qdrant", "zen-mcp"]})
    project.environment["ZEN_MCP_URL"] = f"http://{HERE}:8000/mcp"
    world.become({A: qdrant("1.12.0", collections=["docs", "notes"]), Z: ZEN})
    # Makes the stack known to pulumi.
    first = project.operate("preview", QDRANT_HOST=HERE)
    assert first.code == 0, first.text
    up = project.pulumi("up", "--yes", "--skip-preview", QDRANT_HOST=HERE)
    assert up.code == 0, up.text
    assert sources(project) == ("external_deployment", "external_deployment")
    return project


def sources(project: Project) -> tuple[str, str]:
    plan = project.outputs()["plan"]
    return plan["qdrant"]["source"], plan["zen-mcp"]["source"]


def running(project: Project) -> dict[str, str]:
    """Names and ids of the stack's running containers."""
    prefix = f"promptcraft-{project.stack}-"
    return {
        str(found.name).removeprefix(prefix): str(found.id)
        for found in project.containers()
        if found.status == "running"
    }


def set_pin(project: Project, value: str | None) -> None:
    how = ("config", "rm") if value is None else ("config", "set")
    done = project.pulumi(*how, "--path", "promptcraft-hybrid:pin.qdrant", *((value,) if value else ()))
    assert done.code == 0 or value is None, done.text


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_change(change: Change, project: Project, world: World) -> None:
    world.become(change.world)
    set_pin(project, change.pin)
    before, deployed = running(project), project.outputs()["plan"]

    preview = project.pulumi("preview", **change.environment)
    assert (preview.code != 0) == change.refused, preview.text
    assert [line for line in change.says if line not in preview.text] == [], preview.text
    up = project.pulumi("up", "--yes", "--skip-preview", **change.environment)
    assert (up.code != 0) == change.refused, up.text
    assert KEY not in preview.text + up.text

    if change.refused:
        assert "Traceback" not in preview.text + up.text
        assert (running(project), project.outputs()["plan"]) == (before, deployed)
        return
    assert sources(project) == change.sources
    assert set(running(project)) == change.runs
    assert {name: found for name, found in before.items() if name in change.runs}.items() <= running(project).items()


def test_own_data_outlived_it_all(project: Project) -> None:
    volumes = project.engine.client.volumes.list(filters={"name": f"promptcraft-{project.stack}-qdrant-data"})
    assert len(volumes) == 1


def test_a_changed_health_check_reaches_a_running_stack(new_project: Callable[..., Project]) -> None:
    stack = new_project(config={"services": ["promptcraft", "redis"]})

    def deployed_checks() -> dict[str, str]:
        done = stack.operate("up")
        assert done.code == 0, done.text
        return {
            str(container.name): str(container.attrs["Config"]["Healthcheck"]["Test"])
            for container in stack.containers()
            if container.status == "running"
        }

    first = deployed_checks()
    checks = stack.root / "rendering/health_checks.py"
    text = checks.read_text()
    assert "ANSWER_SECONDS = 2" in text
    checks.write_text(text.replace("ANSWER_SECONDS = 2", "ANSWER_SECONDS = 1"))
    second = deployed_checks()
    assert second.keys() == first.keys()
    assert all(second[name] != first[name] for name in first)
