"""Runs scenarios a few at a time, each in its own namespace, so that one's waiting is another's time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.warm import WarmPython

from .alterations import Alteration, altered
from .debian import REPOSITORY
from .engine import Engine
from .namespace import Namespace
from .outcome import Outcome, check_promises
from .scenario import Scenario
from .unavailable import Unavailable
from .world import World


@dataclass(frozen=True)
class Job:
    """A scenario to run, perhaps against an altered program."""

    scenario: Scenario
    alteration: Alteration | None = None


class Runner:
    """Starts all given jobs at once, in order; `check` waits for one."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._engine: Engine | Unavailable | None = None
        self._warm = WarmPython("discovery.__main__")
        # One more than cores: a part of each run is waiting.
        self._pool = ThreadPoolExecutor(1 + (os.cpu_count() or 1))
        # The engine's ports are one set, so the scenarios that use it take turns.
        self._engine_turn = ThreadPoolExecutor(1)
        self._results: dict[Job, Future[None]] = {
            job: (self._engine_turn if job.scenario.engine else self._pool).submit(self._run, job) for job in jobs
        }

    def check(self, job: Job) -> None:
        """Raise what the job's run and checks raised."""
        self._results[job].result()

    def close(self) -> None:
        """Drop what has not begun, wait for the rest, stop the engine."""
        self._pool.shutdown(cancel_futures=True)
        self._engine_turn.shutdown(cancel_futures=True)
        self._warm.close()
        if isinstance(self._engine, Engine):
            self._engine.close()

    def _run(self, job: Job) -> None:
        with altered(job.alteration) as code:
            if job.scenario.engine:
                self._run_with_engine(job.scenario, code)
                return
            namespace = Namespace()
            try:
                namespace.run(lambda: run(job.scenario, code, self._warm))
            finally:
                namespace.close()

    def _run_with_engine(self, scenario: Scenario, code: Path) -> None:
        engine = self._running_engine()
        try:
            engine.namespace.run(lambda: run(scenario, code, self._warm, engine))
        finally:
            engine.clear()

    def _running_engine(self) -> Engine:
        """The one engine of the session; a machine where it does not start is asked only once."""
        if self._engine is None:
            try:
                self._engine = Engine()
            except Unavailable as missing:
                self._engine = missing
        if isinstance(self._engine, Unavailable):
            raise self._engine
        return self._engine


def run(
    scenario: Scenario, code: Path = REPOSITORY, warm: WarmPython | None = None, engine: Engine | None = None
) -> Outcome:
    """Start the state in the calling thread's namespace, run discovery in it, and check what came of it."""
    world = World(engine, code, warm)
    try:
        scenario.start(world)
        outcome = world.run(scenario.stack, scenario.budget)
        check_promises(outcome, world.secrets)
        for check in (*scenario.checks, *world.checks):
            check(outcome)
        return outcome
    finally:
        world.close()
