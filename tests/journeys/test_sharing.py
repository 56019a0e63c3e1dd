"""Two stacks on one host share one Qdrant: either may go first, and the other is none the worse and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.project import Project

pytestmark = pytest.mark.engine

NO_CHANGES = ("preview", "--refresh", "--expect-no-changes")


@pytest.fixture(scope="module")
def dev(new_project: Callable[..., Project]) -> Project:
    return new_project()


@pytest.fixture(scope="module")
def hybrid(dev: Project, new_project: Callable[..., Project]) -> Project:
    project = new_project(like="hybrid", config={"portOffset": 1000, "share": ["qdrant", "zen-mcp"]})
    project.environment["MCP_LOCK_DIR"] = dev.environment["MCP_LOCK_DIR"]
    return project


def up(project: Project) -> str:
    done = project.operate("up")
    assert done.code == 0, done.text
    return done.text


def health(project: Project, port: int) -> dict[str, Any]:
    told: dict[str, Any] = project.ask(port, "/api/health/detailed").json()["services"]
    return {name: told[name]["status"] for name in ("redis", "qdrant", "zen-mcp")}


ALL_WELL = {"redis": "ok", "qdrant": "ok", "zen-mcp": "ok"}


def test_a_stack_that_is_not_told_to_share_leaves_anothers_service_alone(
    dev: Project, new_project: Callable[..., Project]
) -> None:
    up(dev)
    stranger = new_project(config={"portOffset": 2000})
    stranger.environment["MCP_LOCK_DIR"] = dev.environment["MCP_LOCK_DIR"]
    told = stranger.discover()["services"]["qdrant"]
    assert told["selected"] is None
    others = [found for found in told["candidates"] if found["ownership"] == "foreign_claim"]
    assert {found["verdict"] for found in others} == {"skipped"}
    assert all(dev.stack in found["reason"] and "share" in found["reason"] for found in others) and others


def test_they_run_side_by_side_on_one_qdrant_and_the_guest_goes_first(dev: Project, hybrid: Project) -> None:
    up(hybrid)
    unchanged = hybrid.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
    plan = hybrid.outputs()["plan"]
    assert plan["qdrant"]["endpoint"] == f"http://promptcraft-{dev.stack}-qdrant:6333"
    assert (plan["qdrant"]["source"], plan["zen-mcp"]["source"]) == ("docker_service", "docker_service")
    assert (health(dev, 7862), health(hybrid, 8862)) == (ALL_WELL, ALL_WELL)
    dev.ask(6333, "/collections/shared", "PUT", json={"vectors": {"size": 2, "distance": "Cosine"}})

    down = hybrid.operate("down", PURGE="1")
    assert down.code == 0, down.text
    assert health(dev, 7862) == ALL_WELL
    unchanged = dev.pulumi(*NO_CHANGES)
    assert unchanged.code == 0, unchanged.text
    assert dev.ask(6333, "/collections/shared").status_code == 200


def test_the_owner_goes_first_and_comes_back(dev: Project, hybrid: Project) -> None:
    up(hybrid)
    assert health(hybrid, 8862) == ALL_WELL

    down = dev.operate("down")
    assert down.code == 0, down.text
    assert dev.containers() == []
    assert {found.status for found in hybrid.containers() if not str(found.name).endswith("-files")} == {"running"}
    assert health(hybrid, 8862) == {"redis": "ok", "qdrant": "down", "zen-mcp": "down"}

    preview = hybrid.pulumi("preview")
    assert preview.code != 0
    assert f"qdrant: docker_service http://promptcraft-{dev.stack}-qdrant:6333 is in use, but " in preview.text
    assert f"container promptcraft-{dev.stack}-qdrant is not found any more" in preview.text
    assert f"pulumi config set --stack {hybrid.stack} --path 'pin.qdrant' deployed" in preview.text

    up(dev)
    up(hybrid)
    assert health(hybrid, 8862) == ALL_WELL
    assert hybrid.outputs()["plan"]["qdrant"]["holds"] == '["shared"]'
    unchanged = hybrid.pulumi(*NO_CHANGES)
    assert unchanged.code == 0, unchanged.text


def test_with_a_pin_the_guest_runs_its_own_when_the_owner_is_gone(dev: Project, hybrid: Project) -> None:
    down = dev.operate("down", PURGE="1")
    assert down.code == 0, down.text
    pinned = hybrid.pulumi("config", "set", "--path", "promptcraft-hybrid:pin.qdrant", "deployed")
    assert pinned.code == 0, pinned.text
    text = up(hybrid)
    assert f"qdrant: was docker_service http://promptcraft-{dev.stack}-qdrant:6333, will be deployed" in text
    assert health(hybrid, 8862) == ALL_WELL
