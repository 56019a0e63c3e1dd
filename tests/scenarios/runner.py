"""Runs scenarios a few at a time, each in its own namespace, so that one's waiting is another's time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from .debian import REPOSITORY
from .engine import Engine
from .namespace import Namespace
from .outcome import Outcome, check_promises
from .scenario import Scenario
from .unavailable import Unavailable
from .world import World


class Runner:
    """Starts all given scenarios at once, in order; `check` waits for one."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self._engine: Engine | Unavailable | None = None
        # One more than cores: a part of each run is waiting.
        self._pool = ThreadPoolExecutor(1 + (os.cpu_count() or 1))
        # The engine's ports are one set, so the scenarios that use it take turns.
        self._engine_turn = ThreadPoolExecutor(1)
        self._results: dict[str, Future[None]] = {
            scenario.name: (self._engine_turn if scenario.engine else self._pool).submit(self._run, scenario)
            for scenario in scenarios
        }

    def check(self, scenario: Scenario) -> None:
        """Raise what the scenario's run and checks raised."""
        self._results[scenario.name].result()

    def close(self) -> None:
        """Drop what has not begun, wait for the rest, stop the engine."""
        self._pool.shutdown(cancel_futures=True)
        self._engine_turn.shutdown(cancel_futures=True)
        if isinstance(self._engine, Engine):
            self._engine.close()

    def _run(self, scenario: Scenario) -> None:
        if not scenario.engine:
            namespace = Namespace()
            try:
                namespace.run(lambda: run(scenario))
            finally:
                namespace.close()
            return
        engine = self._running_engine()
        try:
            engine.namespace.run(lambda: run(scenario, engine))
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


def run(scenario: Scenario, engine: Engine | None = None, code: Path = REPOSITORY) -> Outcome:
    """Start the state in the calling thread's namespace, run discovery in it, and check what came of it."""
    world = World(engine, code)
    try:
        scenario.start(world)
        outcome = world.run(scenario.stack, scenario.budget)
        check_promises(outcome, world.secrets)
        for check in (*scenario.checks, *world.checks):
            check(outcome)
        return outcome
    finally:
        world.close()
