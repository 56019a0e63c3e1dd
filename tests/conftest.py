"""What tests share: the engine, which may not be missing where REQUIRE_ENGINE=1."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest


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
