"""What tests share: the engine, which may not be missing where REQUIRE_ENGINE=1, and how workers share the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.warm import servers_python

# What starts alike runs on one worker: it shares an engine, or a runner that starts everything at once. The engine
# tests are the longest chain by far, so they have two workers and an engine for each.
_TOGETHER = {
    "tests/engine/test_nginx.py": "second engine",
    "tests/engine/test_production_stack.py": "second engine",
    "tests/engine/test_renderings.py": "second engine",
    "tests/engine/": "engine",
    "tests/scenarios/": "scenarios",
}


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out tests by file, so that a module's fixtures are made once, and some rooms as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((group for start, group in _TOGETHER.items() if file.startswith(start)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Replace xdist's choice of `--dist`."""
    return ByFile(config, log)


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


@pytest.fixture(scope="session", autouse=True)
def _no_python_is_left() -> Iterator[None]:
    yield
    if servers_python.cache_info().currsize:
        servers_python().close()
