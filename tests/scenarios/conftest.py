"""One runner for the whole session: it starts every job that was collected before the first is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import pytest

from .runner import Job, Runner
from .unavailable import Unavailable

_COLLECTED = pytest.StashKey[Iterable[Job]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    items = (item for item in session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec"))
    parameters = [item.callspec.params.get("job") for item in items]
    session.config.stash[_COLLECTED] = [job for job in parameters if isinstance(job, Job)]


@pytest.fixture(scope="session")
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    running = Runner(request.config.stash[_COLLECTED])
    yield running
    running.close()


@pytest.fixture
def check(runner: Runner) -> Callable[[Job], None]:
    """Raise what a job raised; skip it where this machine cannot start it, unless it must."""

    def raise_or_skip(job: Job) -> None:
        try:
            runner.check(job)
        except Unavailable as missing:
            if os.environ.get("REQUIRE_ENGINE") == "1":
                raise
            pytest.skip(str(missing))

    return raise_or_skip
