"""Runs scenarios a few at a time, each in its own namespace, so that one's waiting is another's time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from .engine import Engine
from .namespace import Namespace
from .outcome import Outcome, check_promises
from .scenario import Scenario
from .world import World


class Runner:
    """Starts all given scenarios at once, in order; `check` waits for one. `environment` is added to each run's."""

    def __init__(self, scenarios: Sequence[Scenario], environment: dict[str, str] | None = None) -> None:
        self._environment = environment or {}
        self._engine: Engine | None = None
        # Two runs a core: most of a run is waiting.
        self._pool = ThreadPoolExecutor(2 * (os.cpu_count() or 1))
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
        if self._engine is not None:
            self._engine.close()

    def _run(self, scenario: Scenario) -> None:
        if not scenario.engine:
            namespace = Namespace()
            try:
                namespace.run(lambda: run(scenario, self._environment))
            finally:
                namespace.close()
            return
        if self._engine is None:
            self._engine = Engine()
        engine = self._engine
        try:
            engine.namespace.run(lambda: run(scenario, self._environment, engine))
        finally:
            engine.clear()


def run(scenario: Scenario, environment: dict[str, str], engine: Engine | None = None) -> Outcome:
    """Start the state in the calling thread's namespace, run discovery in it, and check what came of it."""
    world = World(engine)
    try:
        world.set(**environment)
        scenario.start(world)
        outcome = world.run(scenario.stack, scenario.budget)
        check_promises(outcome, world.secrets)
        for check in (*scenario.checks, *world.checks):
            check(outcome)
        return outcome
    finally:
        world.close()
