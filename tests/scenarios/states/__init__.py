"""The machine states, one file a source or rule."""

from __future__ import annotations

from ..scenario import Scenario
from . import (
    agents,
    approval,
    claude_settings,
    configuration,
    deadlines,
    docker_engine,
    dotenv,
    elsewhere,
    environment,
    headers,
    hostile_answers,
    hostile_repository,
    impostors,
    launch_forms,
    locks,
    models,
    npx,
    other_tools,
    other_users,
    ports,
    priority,
    processes,
    production,
    project_files,
    repositories,
    secrets,
    user_files,
)

ALL: tuple[Scenario, ...] = tuple(
    scenario
    for table in (
        environment,
        dotenv,
        elsewhere,
        user_files,
        other_tools,
        project_files,
        approval,
        claude_settings,
        headers,
        production,
        other_users,
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
        hostile_repository,
        repositories,
        agents,
        docker_engine,
    )
    for scenario in table.scenario.rows
)

BY_NAME = {scenario.name: scenario for scenario in ALL}
