"""MCP servers of a person's own files, from npm and from a Python index, and by HTTP; and the document to paste."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from docker.models.containers import Container
from mcp.shared.exceptions import MCPError

from tests.builders import ROOT
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.hardening import broken_rows
from tests.journeys.claude_code import tools_of
from tests.journeys.npm_mirror import npm_mirror
from tests.journeys.python_index import python_index
from tests.scenarios.sdk_servers import SdkServer

pytestmark = pytest.mark.engine

EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"
CLOCK = "mcp-server-time==2026.10.19"
TOKEN = "zen-token-of-the-journey-4f1a"
TEAM = "team-of-the-journey-22b9"
API = 7862


def note(text: str) -> str:
    """Keeps a note."""
    return f"kept: {text}"


@pytest.fixture(scope="module")
def registries(private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Where npm and uv find packages from within the engine's network, by the variables they know."""
    folder = tmp_path_factory.mktemp("index")
    with npm_mirror(private_engine) as npm, python_index(private_engine, folder, CLOCK) as python:
        yield {"NPM_CONFIG_REGISTRY": npm, "UV_DEFAULT_INDEX": python}


@pytest.fixture(scope="module")
def notes(private_engine: PrivateEngine) -> Iterator[SdkServer]:
    """A server that speaks HTTP, on an address that containers reach."""
    address = private_engine.bridge
    server = private_engine.namespace.run(lambda: SdkServer("team-notes", 0, host=address, tools=(note,)))
    yield server
    server.close()


def agent(name: str, tool: str, argument: str) -> str:
    """One that asks `tool` of the server of its own name."""
    front = f"name: {name}\ndescription: Asks.\nmodel: haiku\nserver: {name}\ntool: {tool}\nprompt_argument: {argument}"
    return f"---\n{front}\n---\nAsk.\n"


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], registries: Mapping[str, str], notes: SdkServer) -> Project:
    project = new_project(config={"mcpServers": ["context7"]})
    home = project.root.parent / "home"
    (home / ".claude/mcp").mkdir(parents=True)
    address = f"http://{project.engine.bridge}:{notes.port}/mcp"
    files = {
        ".claude.json": {
            "mcpServers": {
                "everything": {"command": "npx", "args": ["-y", EVERYTHING], "env": {"TEAM": "${TEAM_OF_THE_PERSON}"}},
                "team-notes": {"type": "http", "url": address},
            }
        },
        ".claude/mcp/clock.json": {"command": "uvx", "args": ["--from", CLOCK, "mcp-server-time"]},
    }
    for name, document in files.items():
        (home / name).write_text(json.dumps(document))
        (home / name).chmod(0o600)
    asked = {"everything": ("get-env", "why"), "clock": ("get_current_time", "why"), "team-notes": ("note", "text")}
    for name, (tool, argument) in asked.items():
        (project.root / f".agents/core/{name}.md").write_text(agent(name, tool, argument))
    project.environment.update({**registries, "ZEN_MCP_TOKEN": TOKEN, "TEAM_OF_THE_PERSON": TEAM})
    return project


def runner(project: Project) -> Container:
    return project.engine.client.containers.get(f"promptcraft-{project.stack}-runner")


def ran(project: Project, agent: str, given: Mapping[str, str] | None = None) -> str:
    body = {"input": "a line for the journey", "arguments": dict(given or {})}
    run = project.ask(API, f"/api/agents/{agent}/runs", "POST", json=body).json()
    assert run["status"] == "succeeded", run
    return str(run["output"])


def test_each_server_is_where_its_file_says(deployed: Done, project: Project, notes: SdkServer) -> None:
    plan = project.outputs()["plan"]
    assert {name: plan[name]["source"] for name in ("everything", "clock", "team-notes")} == dict.fromkeys(
        ("everything", "clock", "team-notes"), "user_installation"
    )
    assert plan["clock"]["endpoint"] == "http://runner:8000/servers/clock/mcp"
    assert plan["team-notes"]["endpoint"] == f"http://{project.engine.bridge}:{notes.port}/mcp"


def test_the_gateway_lists_the_tools_of_each(deployed: Done, project: Project) -> None:
    servers = {server["name"]: server for server in project.ask(API, "/api/mcp/servers").json()["servers"]}
    tools = {name: {tool["name"] for tool in server["tools"]} for name, server in servers.items()}
    assert tools["everything"] >= {"echo", "get-env"}
    assert tools["clock"] == {"get_current_time", "convert_time"}
    assert tools["team-notes"] == {"note"}


def test_a_tool_of_each_is_called_through_the_gateway(deployed: Done, project: Project) -> None:
    # What the entry's `env` takes from this person's environment reaches the server as well.
    assert json.loads(ran(project, "everything"))["TEAM"] == TEAM
    assert ran(project, "team-notes").startswith("kept: ")
    assert json.loads(ran(project, "clock", {"timezone": "Europe/Berlin"}))["timezone"] == "Europe/Berlin"


def test_the_runner_has_nothing_of_the_host(deployed: Done, project: Project) -> None:
    assert broken_rows(project) == []
    mounts = runner(project).attrs["Mounts"]
    assert {mount["Type"] for mount in mounts} <= {"volume", "tmpfs"}
    # Of each container of servers the folder of its sockets.
    assert {mount["Name"] for mount in mounts if mount["RW"] and mount["Type"] == "volume"} == {
        f"promptcraft-{project.stack}-{name}-door" for name in ("everything-stdio", "runner-servers")
    }


def test_a_second_up_changes_nothing(deployed: Done, project: Project) -> None:
    preview = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert preview.code == 0, preview.text


@pytest.fixture(scope="module")
def person(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of somebody at this host who has Node and uv: the version that the runner has."""
    (uv,) = re.findall(r"(?m)^uv==.*$", (ROOT / "images/runner/requirements.txt").read_text())
    folder = tmp_path_factory.mktemp("person")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder / "uv"), uv], check=True)
    return {
        **os.environ,
        **project.environment,
        "PATH": f"{folder / 'uv/bin'}:{os.environ['PATH']}",
        "npm_config_cache": str(folder / "npm"),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "UV_PYTHON_DOWNLOADS": "never",
    }


@pytest.fixture(scope="module")
def pasted(deployed: Done, project: Project) -> dict[str, Any]:
    """The servers of a `.mcp.json` that holds the stack's output as it is."""
    output = project.run("sh", "-c", f"pulumi stack output mcpConfigEach --json --stack {project.stack} 2>/dev/null")
    path = project.root.parent / ".mcp.json"
    path.write_text(output.text)
    servers: dict[str, Any] = json.loads(path.read_text())["mcpServers"]
    return servers


SERVERS = {
    "zen-mcp": "chat",
    "team-notes": "note",
    "context7": "resolve-library-id",
    "everything": "echo",
    "clock": "get_current_time",
}


def test_the_document_names_every_server(pasted: dict[str, Any]) -> None:
    assert set(pasted) == set(SERVERS)
    assert TOKEN not in json.dumps(pasted) and TEAM not in json.dumps(pasted)


@pytest.mark.parametrize("name", SERVERS)
def test_what_was_pasted_works(name: str, pasted: dict[str, Any], person: Mapping[str, str], project: Project) -> None:
    assert SERVERS[name] in project.inside(lambda: tools_of(pasted[name], person))


def test_without_its_variable_a_header_opens_nothing(
    pasted: dict[str, Any], person: Mapping[str, str], project: Project
) -> None:
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True):
        project.inside(lambda: tools_of(pasted["zen-mcp"], {**person, "ZEN_MCP_TOKEN": "another"}))
