"""The machine states, one file a source or rule."""

from __future__ import annotations

from ..scenario import Scenario
from . import (
    agents,
    approval,
    configuration,
    deadlines,
    docker_engine,
    environment,
    hostile_answers,
    impostors,
    launch_forms,
    locks,
    models,
    npx,
    ports,
    priority,
    processes,
    production,
    project_files,
    secrets,
    user_files,
)

ALL: tuple[Scenario, ...] = tuple(
    scenario
    for table in (
        environment,
        user_files,
        project_files,
        approval,
        production,
        configuration,
        locks,
        processes,
        ports,
        models,
        npx,
        launch_forms,
        priority,
        impostors,
        secrets,
        deadlines,
        hostile_answers,
        agents,
        docker_engine,
    )
    for scenario in table.scenario.rows
)

BY_NAME = {scenario.name: scenario for scenario in ALL}
