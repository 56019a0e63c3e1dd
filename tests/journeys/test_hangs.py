"""Everything beside the application hangs at the same time: all of it is ended, and comes back with what it had stored.

A replica of the application that hangs is in `engine/test_production_stack.py`: others answer for it meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from docker.models.containers import Container

from catalog import EXPORTERS, LABEL_SERVICE
from tests.engine.project import Done, Project
from tests.hanging import hang, healthy_since
from tests.waiting import until

pytestmark = pytest.mark.engine

SERVICES = {"redis", "zen-mcp", "qdrant", "nginx", "prometheus", "grafana", *EXPORTERS}
QDRANT, API = 6333, 7862
KEY = "qdrant-secret-77d1"
# 15 checks without an answer, 4 s apart, a start, and what a busy machine adds.
SECONDS = 150


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project(like="production")
    project.environment.update(QDRANT_API_KEY=KEY)
    return project


def word(redis: Container, *command: str) -> str:
    shell = f'REDISCLI_AUTH="$(cat /run/promptcraft/secrets/redis 2>/dev/null)" redis-cli {" ".join(command)}'
    # On its standard error it says that no password is configured, where none is.
    said, _ = redis.exec_run(["sh", "-c", shell], demux=True).output
    assert isinstance(said, bytes)
    return said.decode().strip()


def test_whatever_hangs_is_ended_and_back_with_its_data(deployed: Done, project: Project) -> None:
    running = {str(one.labels[LABEL_SERVICE]): one for one in project.containers() if one.status == "running"}
    hung = {name: running[name] for name in SERVICES}
    assert word(hung["redis"], "set", "word", "kept") == "OK"
    auth = {"api-key": KEY}
    collection = {"vectors": {"size": 2, "distance": "Cosine"}}
    assert project.ask(QDRANT, "/collections/words", "PUT", json=collection, headers=auth).status_code == 200
    before = {name: healthy_since(container) for name, container in hung.items()}
    assert None not in before.values()
    begun = time.monotonic()
    for container in hung.values():
        hang(container)

    back: dict[str, float] = {}

    def are_back() -> bool:
        for name in hung.keys() - back.keys():
            if healthy_since(hung[name]) not in (None, before[name]):
                back[name] = round(time.monotonic() - begun, 1)
        return back.keys() == hung.keys()

    until(are_back, seconds=SECONDS)
    # Whoever is only busy, with saving for instance, is given time.
    assert min(back.values()) > 30, back
    assert word(hung["redis"], "get", "word") == "kept"
    assert project.ask(QDRANT, "/collections/words", headers=auth).status_code == 200
    until(lambda: project.ask(API, "/api/health/detailed").json()["status"] == "ok")
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
