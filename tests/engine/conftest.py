"""One private engine for all engine tests, with the images that set-up resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from tests.chat_completions import ChatServer, chat_server
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project


@pytest.fixture(scope="session")
def private_engine(engine: docker.DockerClient) -> Iterator[PrivateEngine]:
    """The engine, running; whoever ends it starts it again."""
    private = PrivateEngine()
    private.prepare()
    private.start()
    yield private
    private.close()


@pytest.fixture(scope="module")
def models(private_engine: PrivateEngine) -> Iterator[ChatServer]:
    """A model server that the engine's containers reach; a stack uses it if OPENAI_BASE_URL names it."""
    with chat_server(private_engine) as server:
        yield server


@pytest.fixture(scope="module")
def new_project(
    private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Project]]:
    """Make projects that are gone, with all their stacks declared, when the module's tests are done."""
    made: list[Project] = []

    def make(**arguments: Any) -> Project:
        project = Project.create(tmp_path_factory.mktemp("engine"), private_engine, **arguments)
        made.append(project)
        return project

    yield make
    for project in made:
        project.leave_nothing()


@pytest.fixture(scope="module")
def deployed(project: Project) -> Done:
    """The first `make up` of the module's own `project`."""
    done = project.operate("up")
    assert done.code == 0, done.text
    return done
