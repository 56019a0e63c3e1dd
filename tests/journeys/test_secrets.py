"""Secrets over time: each is changed in turn, and only who uses it is replaced; none is ever seen in the open."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from catalog import LABEL_SERVICE
from tests.engine.project import Done, Project
from tests.exposure import exposed

pytestmark = pytest.mark.engine

KEYS = ("redisPassword", "qdrantApiKey", "zenMcpToken", "gatewayTokens")
USERS = {
    "redisPassword": {"redis", "promptcraft"},
    "qdrantApiKey": {"qdrant", "promptcraft"},
    "zenMcpToken": {"zen-mcp", "promptcraft"},
    "gatewayTokens": {"promptcraft"},
}
API = 7862


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    return new_project(config={"environment": "production"})


@pytest.fixture(scope="module")
def seen() -> dict[str, list[str]]:
    """Every value that each secret has ever had."""
    return {}


def set_secret(project: Project, key: str, seen: dict[str, list[str]]) -> None:
    value = secrets.token_hex(16)
    seen.setdefault(key, []).append(value)
    done = project.pulumi("config", "set", "--secret", key, value)
    assert done.code == 0, done.text


@pytest.fixture(scope="module")
def deployed(project: Project, seen: dict[str, list[str]]) -> Done:
    assert project.operate("init").code == 0
    for key in KEYS:
        set_secret(project, key, seen)
    values = [value for known in seen.values() for value in known]
    with processes_watched(values) as shown:
        done = project.operate("up")
    assert done.code == 0, done.text
    assert shown == set()
    return done


@contextmanager
def processes_watched(values: list[str]) -> Iterator[set[str]]:
    """The command lines, of any process of the machine meanwhile, that hold one of the values."""
    shown: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    command = path.read_text(errors="replace")
                    shown.update(command for value in values if value in command)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield shown
    finally:
        done.set()
        watcher.join()


def running(project: Project) -> dict[str, str]:
    """The identifiers of the running containers by service."""
    return {
        str(container.labels[LABEL_SERVICE]): str(container.id)
        for container in project.containers()
        if container.status == "running"
    }


def redis_cli(project: Project, password: str, command: str) -> str:
    container = project.engine.client.containers.get(f"promptcraft-{project.stack}-redis")
    output = container.exec_run(f"redis-cli {command}", environment={"REDISCLI_AUTH": password}).output
    assert isinstance(output, bytes)
    return output.decode()


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_secret_replaces_its_users_and_nobody_else(
    key: str, deployed: Done, project: Project, seen: dict[str, list[str]]
) -> None:
    assert "OK" in redis_cli(project, seen["redisPassword"][-1], "set kept yes")
    before = running(project)
    set_secret(project, key, seen)
    up = project.pulumi("up", "--yes", "--skip-preview")
    assert up.code == 0, up.text
    after = running(project)
    assert after.keys() == before.keys()
    assert {service for service in after if after[service] != before[service]} == USERS[key]
    assert "yes" in redis_cli(project, seen["redisPassword"][-1], "get kept")
    assert project.ask(API, "/api/health/detailed").json()["status"] == "ok"


def test_without_the_passphrase_nothing_is_touched(deployed: Done, project: Project) -> None:
    before = running(project)
    for passphrase, complaint in (("wrong", "incorrect passphrase"), ("", "passphrase")):
        up = project.pulumi("up", "--yes", "--skip-preview", PULUMI_CONFIG_PASSPHRASE=passphrase)
        assert (up.code != 0, complaint in up.text) == (True, True), up.text
    assert running(project) == before


def test_what_a_secret_was_before_opens_nothing(deployed: Done, project: Project, seen: dict[str, list[str]]) -> None:
    assert "yes" not in redis_cli(project, seen["redisPassword"][0], "get kept")
    statuses = [
        [project.ask(port, path, headers={header: f"{before}{value}"}).status_code for value in seen[key]]
        for key, port, path, header, before in (
            ("qdrantApiKey", 6333, "/collections", "api-key", ""),
            ("gatewayTokens", API, "/api/agents/available", "Authorization", "Bearer "),
        )
    ]
    assert statuses == [[401, 200], [401, 200]]


def test_no_secret_of_any_time_stands_in_the_open(deployed: Done, project: Project, seen: dict[str, list[str]]) -> None:
    values = [value for known in seen.values() for value in known]
    assert len(values) == 2 * len(KEYS)
    assert exposed(project, values, deployed.text) == []
