"""Every machine state: started for real, looked at by `python -m discovery`, and judged by what a stranger can see."""

from __future__ import annotations

import os

import pytest

from .runner import Runner
from .scenario import Scenario
from .states import ALL
from .unavailable import Unavailable

_PARAMETERS = [
    pytest.param(scenario, id=scenario.name, marks=[pytest.mark.engine] if scenario.engine else []) for scenario in ALL
]


@pytest.mark.parametrize("scenario", _PARAMETERS)
def test_scenario(scenario: Scenario, runner: Runner) -> None:
    try:
        runner.check(scenario)
    except Unavailable as missing:
        if os.environ.get("REQUIRE_ENGINE") == "1":
            raise
        pytest.skip(str(missing))


def test_every_scenario_has_a_name_of_its_own() -> None:
    assert len({scenario.name for scenario in ALL}) == len(ALL) >= 60
