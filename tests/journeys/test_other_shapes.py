"""Every committed stack that is not `dev`: deployed with discovery live, hardened, and not changed by a second `up`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.project import Project
from tests.hardening import broken_rows

pytestmark = pytest.mark.engine


# The engine's namespace has no way to a package registry: the cloud stack runs without what comes from there.
@pytest.mark.parametrize(
    ("shape", "services", "missing"),
    [
        ("hybrid", {"promptcraft", "redis", "qdrant", "zen-mcp"}, None),
        ("cloud", {"promptcraft"}, "the npm registry cannot be reached"),
    ],
)
def test_a_second_up_changes_nothing(
    shape: str, services: set[str], missing: str | None, new_project: Callable[..., Project]
) -> None:
    project = new_project(like=shape)
    up = project.operate("up")
    assert up.code == (1 if missing else 0), up.text
    assert missing is None or missing in up.text
    plan = project.outputs()["plan"]
    assert {name for name, told in plan.items() if told["source"] == "deployed"} == services
    assert broken_rows(project) == []
    for command in (
        ("up", "--yes", "--skip-preview", "--expect-no-changes"),
        ("preview", "--refresh", "--expect-no-changes"),
    ):
        again = project.pulumi(*command)
        assert again.code == 0, again.text
    down = project.operate("down", PURGE="1")
    assert down.code == 0, down.text
