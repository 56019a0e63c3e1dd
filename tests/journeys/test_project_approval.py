"""What a cloned repository names: nothing is started, called or given away until somebody approves it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.exposure import exposed
from tests.journeys.npm_mirror import npm_mirror
from tests.scenarios.emulators import legacy_mcp
from tests.scenarios.servers import Server

pytestmark = pytest.mark.engine

PACKAGE = "@modelcontextprotocol/server-everything@2026.8.31"
TEAM = "team-of-the-journey-7c1d"
API = 7862
AGENT = """---
name: everything
description: Asks.
model: haiku
server: everything
tool: get-env
prompt_argument: why
---
Ask.
"""


@pytest.fixture(scope="module")
def stranger(private_engine: PrivateEngine) -> Iterator[Server]:
    """Somebody's MCP server beyond the loopback, who counts every connection."""
    address = private_engine.bridge
    server = private_engine.namespace.run(lambda: Server(legacy_mcp("stranger"), 18765, address))
    yield server
    server.close()


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], private_engine: PrivateEngine, stranger: Server) -> Iterator[Project]:
    """A clone whose files name a package, and the stranger in each place where an address can stand."""
    project = new_project(like="cloud", config={"mcpServers": []})
    url = f"http://{private_engine.bridge}:{stranger.port}/mcp"
    write_entries(project, url, PACKAGE)
    folder = project.root / ".mcp"
    (folder / "servers").mkdir()
    (folder / "servers/stranger-2.json").write_text(json.dumps({"type": "http", "url": url}))
    configuration = folder / "discovery-config.yaml"
    configuration.write_text(
        configuration.read_text().replace("servers:\n", f"servers:\n  stranger-3: {{url: {url}}}\n")
    )
    (project.root / ".agents/core/everything.md").write_text(AGENT)
    with npm_mirror(private_engine) as registry:
        project.environment.update({"NPM_CONFIG_REGISTRY": registry, "TEAM_OF_THE_PERSON": TEAM})
        yield project


def write_entries(project: Project, url: str, package: str) -> None:
    everything = {"command": "npx", "args": ["-y", package], "env": {"TEAM": "${TEAM_OF_THE_PERSON}"}}
    entries = {"everything": everything, "stranger": {"type": "http", "url": url}}
    (project.root / ".mcp.json").write_text(json.dumps({"mcpServers": entries}))


def running(project: Project) -> set[str]:
    prefix = f"promptcraft-{project.stack}-"
    return {str(found.name).removeprefix(prefix) for found in project.containers() if found.status == "running"}


@pytest.mark.parametrize("command", ["discovery", "preview", "up"])
def test_before_it_is_approved_nothing_is_started_and_nobody_called(
    command: str, project: Project, stranger: Server
) -> None:
    if command == "discovery":
        done = project.run(".venv/bin/python", "-m", "discovery", "--stack", project.stack)
    else:
        done = project.operate(command)
    assert done.code == 0, done.text
    assert stranger.connections == 0
    assert running(project) == ({"promptcraft"} if command == "up" else set())
    assert TEAM not in done.text
    told = done.text.replace("\n", " ")
    assert f"python -m discovery approve everything (it would start npx {PACKAGE} with TEAM_OF_THE_PERSON)" in told
    for server in ("stranger", "stranger-2", "stranger-3"):
        assert f"{server} waits for approval: python -m discovery approve {server} " in told


def test_what_is_approved_is_previewed_by_name_and_then_started(project: Project, stranger: Server) -> None:
    approved = project.run(".venv/bin/python", "-m", "discovery", "approve", "everything")
    assert approved.code == 0, approved.text
    assert f"it may start npx {PACKAGE} with TEAM_OF_THE_PERSON" in approved.text
    kept = Path(project.environment["HOME"]) / ".local/state/promptcraft/approvals.json"
    assert kept.stat().st_mode & 0o777 == 0o600

    preview = project.operate("preview")
    started = (
        f"the runner starts npx {PACKAGE} (.mcp.json: mcpServers.everything), given TEAM, taken from this machine's"
    )
    assert f"{started} TEAM_OF_THE_PERSON" in preview.text
    up = project.operate("up")
    assert up.code == 0, up.text
    assert running(project) == {"promptcraft", "runner", "egress", "everything-stdio"}
    run = project.ask(API, "/api/agents/everything/runs", "POST", json={"input": "all of it"}).json()
    assert run["status"] == "succeeded" and json.loads(run["output"])["TEAM"] == TEAM, run
    assert stranger.connections == 0


def test_no_value_stands_in_what_was_printed_or_kept(project: Project) -> None:
    assert exposed(project, [TEAM], json.dumps(project.outputs()), json.dumps(project.discover())) == []


def test_a_second_up_changes_nothing(project: Project) -> None:
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text


def test_an_entry_that_changed_is_not_started_any_more(project: Project, stranger: Server) -> None:
    write_entries(project, f"http://{project.engine.bridge}:{stranger.port}/mcp", f"{PACKAGE}-evil")
    up = project.operate("up")
    assert up.code == 0, up.text
    assert "everything has changed since it was approved: python -m discovery approve everything" in up.text
    assert running(project) == {"promptcraft"}
    assert stranger.connections == 0
