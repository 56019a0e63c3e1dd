"""What tests share: the engine, which may not be missing where REQUIRE_ENGINE=1."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest

from tests.builders import ROOT


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together on one worker what shares something dear: an engine, a namespace, a module's own servers."""
    for item in items:
        folder = item.path.parent.relative_to(ROOT)
        together = folder.parts[1:2] if folder.parts[:1] == ("tests",) else ()
        group = together[0] if together and together[0] in ("engine", "scenarios") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the real Docker Engine."""
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except docker.errors.DockerException as error:
        if os.environ.get("REQUIRE_ENGINE") == "1":
            raise
        pytest.skip(f"no Docker Engine: {error}")
    yield client
    client.close()
