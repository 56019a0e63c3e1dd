"""The engine ends in good order, and dies in the middle of an update: the stack is the same afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.waiting import until

pytestmark = pytest.mark.engine

HEALTHY = {"promptcraft", "redis", "zen-mcp", "qdrant"}


def healthy(project: Project) -> set[str]:
    prefix = f"promptcraft-{project.stack}-"
    return {
        str(found.name).removeprefix(prefix)
        for found in project.containers()
        if found.attrs["State"].get("Health", {}).get("Status") == "healthy"
    }


def test_an_engine_that_dies_mid_way_leaves_a_stack_that_the_next_up_completes(
    private_engine: PrivateEngine, new_project: Callable[..., Project]
) -> None:
    project = new_project()
    first: list[Done] = []
    update = threading.Thread(target=lambda: first.append(project.operate("up")))
    update.start()
    until(lambda: any(found.status == "running" for found in project.containers()))
    private_engine.kill()
    update.join()
    assert first[0].code != 0

    private_engine.start()
    again = project.operate("up")
    if "lost track of it" in again.text:
        # Now and then the killed engine itself keeps a port; then what the message tells is done.
        private_engine.stop()
        private_engine.start()
        again = project.operate("up")
    assert again.code == 0, again.text
    assert healthy(project) == HEALTHY
    assert len({found.name for found in project.containers()}) == len(project.containers())

    private_engine.stop()
    private_engine.start()
    until(lambda: healthy(project) == HEALTHY, seconds=60)
    unchanged = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
    unchanged = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
