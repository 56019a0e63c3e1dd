"""Two stacks on one host: apart by themselves, sharing a service where one is told to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.project import Project

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def first(new_project: Callable[..., Project]) -> Project:
    project = new_project(config={"services": ["qdrant"]})
    up = project.operate("up")
    # Its table can't be green: the application, who would say so, is not part of it.
    assert "Resources:" in up.text and "error" not in up.text, up.text
    return project


def second_of(first: Project, new_project: Callable[..., Project], **config: object) -> Project:
    project = new_project(config={"portOffset": 1000, **config})
    project.environment["MCP_LOCK_DIR"] = first.environment["MCP_LOCK_DIR"]
    return project


def test_a_stack_leaves_anothers_service_alone(first: Project, new_project: Callable[..., Project]) -> None:
    told = second_of(first, new_project).discover()["services"]["qdrant"]
    assert told["selected"] is None
    others = [found for found in told["candidates"] if found["ownership"] == "foreign_claim"]
    assert {found["verdict"] for found in others} == {"skipped"}
    assert all(first.stack in found["reason"] and "share" in found["reason"] for found in others) and others


def test_a_stack_that_is_told_to_share_joins_the_others_network_and_leaves_it_as_it_was(
    first: Project, new_project: Callable[..., Project]
) -> None:
    second = second_of(first, new_project, share=["qdrant"])
    up = second.operate("up")
    assert up.code == 0, up.text
    names = {str(found.name) for found in second.containers()}
    assert not [name for name in names if "qdrant" in name]
    assert second.outputs()["plan"]["qdrant"]["source"] == "docker_service"
    assert second.ask(8862, "/api/health/detailed").json()["services"]["qdrant"]["status"] == "ok"
    again = second.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    refreshed = second.pulumi("preview", "--refresh", "--expect-no-changes")
    assert refreshed.code == 0, refreshed.text

    down = second.operate("down", PURGE="1")
    assert down.code == 0, down.text
    assert [found.status for found in first.containers()] == ["running"]
    unchanged = first.pulumi("preview", "--refresh", "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
