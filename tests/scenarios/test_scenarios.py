"""Every machine state: started for real, looked at by `python -m discovery`, and judged by what a stranger can see."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .runner import Job
from .states import ALL

_JOBS = [
    pytest.param(Job(scenario), id=scenario.name, marks=[pytest.mark.engine] if scenario.engine else [])
    for scenario in ALL
]


@pytest.mark.parametrize("job", _JOBS)
def test_scenario(job: Job, check: Callable[[Job], None]) -> None:
    check(job)


def test_every_scenario_has_a_name_of_its_own() -> None:
    assert len({scenario.name for scenario in ALL}) == len(ALL) >= 60
