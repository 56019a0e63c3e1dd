"""One runner for all scenarios: it starts every job that was collected before the first is asked for."""

from __future__ import annotations

import contextlib
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


@pytest.fixture(scope="package")
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    with _going_first():
        running = Runner(request.config.stash[_COLLECTED])
        yield running
        running.close()


@contextlib.contextmanager
def _going_first() -> Iterator[None]:
    """This thread, and what it starts, have the processor before the tests of other workers.

    What a scenario says of time is seconds of the clock. Only root may go first.
    """
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, usual - 10)
    yield
    os.setpriority(os.PRIO_PROCESS, 0, usual)


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
