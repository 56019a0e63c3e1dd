"""Several deployments of one stack at once: one works at a time, the others change nothing, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.journeys.deploying import REFUSED, Up, chance, converged, pause, with_make
from tests.journeys.npm_mirror import npm_mirror

pytestmark = pytest.mark.engine

STACKS = ("dev", "hybrid", "production", "cloud")


@pytest.fixture(scope="module")
def moments() -> random.Random:
    return chance()


@pytest.fixture(scope="module")
def registry(private_engine: PrivateEngine) -> Iterator[str]:
    """Where the cloud stack's MCP servers come from."""
    with npm_mirror(private_engine) as address:
        yield address


@pytest.fixture(params=STACKS)
def project(request: pytest.FixtureRequest, new_project: Callable[..., Project], registry: str) -> Iterator[Project]:
    project = with_make(new_project(like=request.param))
    project.environment["NPM_CONFIG_REGISTRY"] = registry
    yield project
    project.leave_nothing()


@pytest.mark.parametrize("number", [2, 3, 10])
def test_of_several_deployments_one_works_and_nothing_is_lost(
    number: int, project: Project, moments: random.Random, tmp_path: Path
) -> None:
    ups = []
    for index in range(number):
        ups.append(Up(project, tmp_path / f"{index}.log"))
        # Somewhere in the first one: its set-up, its preview, its containers, its end.
        pause(moments.uniform(0, 30 / number))
    ended = [up.done() for up in ups]
    assert any(done.code == 0 for done in ended), ended[0].text
    for done in ended:
        assert done.code == 0 or REFUSED in done.text, done.text
    converged(project)
