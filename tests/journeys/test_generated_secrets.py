"""A production stack whose Redis and Qdrant are open to its network: `make up` closes both, and keeps their data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from catalog import LABEL_SERVICE
from tests.engine.project import Done, Project
from tests.exposure import exposed

pytestmark = pytest.mark.engine

API, QDRANT = 7862, 6333
GENERATED = ("redisPassword", "qdrantApiKey")


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    return new_project(config={"environment": "production", "services": ["promptcraft", "redis", "qdrant"]})


@pytest.fixture(scope="module")
def deployed(project: Project) -> Done:
    """By hand, which generates nothing."""
    assert project.pulumi("stack", "init").code == 0
    done = project.pulumi("up", "--yes", "--skip-preview")
    assert done.code == 0, done.text
    return done


def redis_cli(project: Project, password: str, command: str) -> str:
    container = project.engine.client.containers.get(f"promptcraft-{project.stack}-redis")
    environment = {"REDISCLI_AUTH": password} if password else {}
    output = container.exec_run(f"redis-cli {command}", environment=environment).output
    assert isinstance(output, bytes)
    return output.decode().strip()


def points(project: Project, headers: dict[str, str]) -> Any:
    answer = project.ask(QDRANT, "/collections/kept/points/7", headers=headers)
    return answer.json()["result"]["payload"] if answer.status_code == 200 else answer.status_code


def running(project: Project) -> dict[str, str]:
    return {
        str(container.labels[LABEL_SERVICE]): str(container.id)
        for container in project.containers()
        if container.status == "running"
    }


def test_the_next_up_closes_both_and_loses_nothing(deployed: Done, project: Project) -> None:
    assert redis_cli(project, "", "set kept yes") == "OK"
    body: dict[str, Any] = {"vectors": {"size": 2, "distance": "Cosine"}}
    assert project.ask(QDRANT, "/collections/kept", "PUT", json=body).status_code == 200
    body = {"points": [{"id": 7, "vector": [0.6, 0.8], "payload": {"kept": True}}]}
    assert project.ask(QDRANT, "/collections/kept/points?wait=true", "PUT", json=body).status_code == 200

    preview = project.operate("preview")
    assert all(f"{key}: none is set; `make up` generates one" in preview.text for key in GENERATED), preview.text
    up = project.operate("up")
    assert up.code == 0, up.text
    password, key = (project.pulumi("config", "get", name).text.strip() for name in GENERATED)
    assert redis_cli(project, "", "get kept").startswith("NOAUTH")
    assert redis_cli(project, password, "get kept") == "yes"
    assert points(project, {}) == 401
    assert points(project, {"api-key": key}) == {"kept": True}
    assert project.ask(API, "/api/health/detailed").json()["status"] == "ok"
    assert exposed(project, [password, key], up.text, preview.text) == []


def test_they_stay_what_they_are(project: Project) -> None:
    before = [project.pulumi("config", "get", name).text for name in GENERATED], running(project)
    again = project.operate("up")
    assert again.code == 0, again.text
    assert ([project.pulumi("config", "get", name).text for name in GENERATED], running(project)) == before
    unchanged = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
