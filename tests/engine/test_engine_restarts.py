"""The engine ends in good order, and dies in the middle of an update: the stack is the same afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.waiting import until

pytestmark = pytest.mark.engine

HEALTHY = {"promptcraft", "redis", "zen-mcp", "qdrant"}


@pytest.fixture(scope="module")
def private_engine(engine: docker.DockerClient) -> Iterator[PrivateEngine]:
    private = PrivateEngine()
    private.start()
    private.load_images()
    yield private
    private.close()


def healthy(project: Project, client: docker.DockerClient) -> set[str]:
    prefix = f"promptcraft-{project.stack}-"
    return {
        str(found.name).removeprefix(prefix)
        for found in project.containers(client)
        if found.attrs["State"].get("Health", {}).get("Status") == "healthy"
    }


def test_an_engine_that_dies_mid_way_leaves_a_stack_that_the_next_up_completes(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    project = Project.create(tmp_path)
    first: list[tuple[int, str]] = []
    update = threading.Thread(target=lambda: first.append(private_engine.operate(project, "up")))
    update.start()
    client = private_engine.client
    assert client is not None
    until(lambda: any(found.status == "running" for found in project.containers(client)))
    private_engine.kill()
    update.join()
    assert first[0][0] != 0

    client = private_engine.start()
    code, text = private_engine.operate(project, "up")
    assert code == 0, text
    assert healthy(project, client) == HEALTHY
    assert len({found.name for found in project.containers(client)}) == len(project.containers(client))

    private_engine.stop()
    client = private_engine.start()
    until(lambda: healthy(project, client) == HEALTHY, seconds=60)
    code, text = private_engine.pulumi(project, "preview", "--refresh", "--expect-no-changes")
    assert code == 0, text
    code, text = private_engine.pulumi(project, "up", "--yes", "--skip-preview", "--expect-no-changes")
    assert code == 0, text
