"""The dev stack for real: deployed once, then asked everything that `make up` promises, in the order of its life."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from docker.models.containers import Container
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.engine.project import Done, Project
from tests.exposure import exposed
from tests.hardening import broken_rows

pytestmark = pytest.mark.engine

SECRETS = {
    "QDRANT_API_KEY": "qdrant-secret-6b1f",
    "ZEN_MCP_TOKEN": "zen-secret-90ac",
    "REDIS_URL": "redis://:redis-secret-77d2@192.0.2.1:6379",
}
VALUES = ("qdrant-secret-6b1f", "zen-secret-90ac", "redis-secret-77d2")
SERVICES = ("promptcraft", "redis", "zen-mcp", "qdrant")
NO_CHANGES = ("preview", "--refresh", "--expect-no-changes")


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project()
    project.environment.update(SECRETS)
    return project


@pytest.fixture(scope="module")
def running(deployed: Done, project: Project) -> dict[str, Container]:
    """The running containers by service."""
    prefix = f"promptcraft-{project.stack}-"
    return {
        str(container.name).removeprefix(prefix): container
        for container in project.containers()
        if container.status == "running"
    }


def redis_cli(container: Container, command: str) -> str:
    shell = f'REDISCLI_AUTH="$(cat /run/promptcraft/secrets/redis)" redis-cli {command}'
    output = container.exec_run(["sh", "-c", shell]).output
    assert isinstance(output, bytes)
    return output.decode().strip()


def test_up_ends_with_a_table_of_four_healthy_services(deployed: Done) -> None:
    table = deployed.text[deployed.text.rindex("PromptCraft ·") :]
    assert table.count(" ok ") == len(SERVICES)
    assert "stand-in" in table


def test_every_service_answers_in_its_own_protocol(deployed: Done, project: Project) -> None:
    for port in (7860, 7862):
        health = project.ask(port, "/health").json()
        assert (health["status"], health["service"]) == ("ok", "promptcraft")
    detailed = project.ask(7862, "/api/health/detailed").json()
    assert detailed["status"] == "ok"
    assert {name for name, told in detailed["services"].items() if told["status"] == "ok"} >= {*SERVICES} - {
        "promptcraft"
    }
    assert project.ask(6333, "/readyz").status_code == 200


def test_the_document_to_paste_works_with_the_official_client(deployed: Done, project: Project) -> None:
    ((name, entry),) = project.outputs()["mcpConfig"]["mcpServers"].items()
    (zen,) = project.outputs()["mcpConfigEach"]["mcpServers"].values()
    assert (name, entry["type"], zen["type"]) == ("promptcraft", "http", "http")

    async def handshake(server: dict[str, Any]) -> tuple[str, set[str]]:
        # As Claude Code expands them.
        told = server.get("headers", {}).items()
        headers = {name: re.sub(r"\$\{(\w+)\}", lambda it: SECRETS[it[1]], text) for name, text in told}
        async with (
            httpx2.AsyncClient(headers=headers) as client,
            streamable_http_client(server["url"], http_client=client) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            introduced = await session.initialize()
            return introduced.server_info.name, {tool.name for tool in (await session.list_tools()).tools}

    assert project.inside(lambda: asyncio.run(handshake(zen)))[0] == "PAL"
    introduced, tools = project.inside(lambda: asyncio.run(handshake(entry)))
    assert introduced == "promptcraft" and "zen-mcp__version" in tools


def test_redis_answers_inside_its_container(running: dict[str, Container]) -> None:
    assert redis_cli(running["redis"], "ping") == "PONG"


def test_redis_answers_nobody_without_its_password(running: dict[str, Container]) -> None:
    output = running["redis"].exec_run(["redis-cli", "ping"]).output
    assert isinstance(output, bytes) and output.startswith(b"NOAUTH")


@pytest.mark.parametrize("command", ["config set dir /", "flushall", "acl list", "debug sleep 0", "replicaof no one"])
def test_nobody_rules_redis(command: str, running: dict[str, Container]) -> None:
    assert redis_cli(running["redis"], command).startswith(("NOPERM", "ERR DEBUG command not allowed"))


def test_every_container_is_hardened(deployed: Done, project: Project) -> None:
    assert broken_rows(project) == []


def test_a_second_up_changes_nothing_three_times_over(deployed: Done, project: Project) -> None:
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    for _ in range(3):
        preview = project.pulumi(*NO_CHANGES)
        assert preview.code == 0, preview.text


def test_discovery_calls_the_stacks_own_services_owned(running: dict[str, Container], project: Project) -> None:
    report = project.discover()
    ids = {container.id for container in running.values()}
    for service in SERVICES:
        told = report["services"][service]
        assert told["selected"] is None
        own = [candidate for candidate in told["candidates"] if candidate["container_id"] in ids]
        assert own and {candidate["verdict"] for candidate in own} == {"owned"}


def test_a_lock_names_who_serves(deployed: Done, project: Project) -> None:
    path = Path(project.environment["MCP_LOCK_DIR"]) / ".mcp-qdrant.lock"
    lock = json.loads(path.read_text())
    assert (lock["stack"], lock["endpoint"], lock["pid"]) == (project.stack, "http://127.0.0.1:6333", None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_secret_stands_anywhere_in_the_open(deployed: Done, running: dict[str, Container], project: Project) -> None:
    assert exposed(project, VALUES, deployed.text, json.dumps(project.discover())) == []
    # What is no secret is found everywhere, so the search would have met a secret there.
    argument = max(running["qdrant"].attrs["Config"]["Cmd"], key=len)
    public = exposed(project, ["PROMPTCRAFT_PLAN_FILE", argument, f"promptcraft-{project.stack}"])
    kinds = {where.split(" ")[0] for where, _ in public} | {where.split(" ")[-1] for where, _ in public}
    assert {"engine", "environ", "cmdline"} <= kinds
    assert [where for where, _ in public if where.endswith(f"{project.stack}.json")]


def test_down_keeps_the_data_and_up_finds_it_again(running: dict[str, Container], project: Project) -> None:
    assert redis_cli(running["redis"], "set kept yes") == "OK"
    key = {"api-key": SECRETS["QDRANT_API_KEY"]}
    body: dict[str, Any] = {"vectors": {"size": 2, "distance": "Cosine"}}
    assert project.ask(6333, "/collections/kept", "PUT", json=body, headers=key).status_code == 200
    body = {"points": [{"id": 7, "vector": [0.6, 0.8], "payload": {"kept": True}}]}
    assert project.ask(6333, "/collections/kept/points?wait=true", "PUT", json=body, headers=key).status_code == 200

    down = project.operate("down")
    assert down.code == 0, down.text
    assert project.containers() == []
    mine = {"label": f"ai.promptcraft.stack={project.stack}"}
    client = project.engine.client
    assert client.networks.list(filters=mine) == []
    assert list(Path(project.environment["MCP_LOCK_DIR"]).iterdir()) == []
    assert {volume.name for volume in client.volumes.list(filters=mine)} == {
        f"promptcraft-{project.stack}-redis-data",
        f"promptcraft-{project.stack}-qdrant-data",
    }

    up = project.operate("up")
    assert up.code == 0, up.text
    redis = client.containers.get(f"promptcraft-{project.stack}-redis")
    assert redis_cli(redis, "get kept") == "yes"
    point = project.ask(6333, "/collections/kept/points/7", headers=key).json()["result"]
    assert point["payload"] == {"kept": True}


def test_purge_removes_the_data_too(project: Project) -> None:
    down = project.operate("down", PURGE="1")
    assert down.code == 0, down.text
    assert project.engine.client.volumes.list(filters={"label": f"ai.promptcraft.stack={project.stack}"}) == []
