"""One runner for the whole session: it starts every scenario that was collected before the first is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from .runner import Runner
from .scenario import Scenario

_COLLECTED = pytest.StashKey[Sequence[Scenario]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    items = (item for item in session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec"))
    parameters = [item.callspec.params.get("scenario") for item in items]
    session.config.stash[_COLLECTED] = [value for value in parameters if isinstance(value, Scenario)]


@pytest.fixture(scope="session")
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    running = Runner(request.config.stash[_COLLECTED])
    yield running
    running.close()
