"""The cloud stack with the real Context7 from the npm registry: started, listed, called; and without a registry."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from docker.models.containers import Container

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.journeys.npm_mirror import npm_mirror
from tests.waiting import until

pytestmark = pytest.mark.engine

KEY = "pplx-journey-5d2c77"
AGENT = """---
name: librarian
description: Looks libraries up.
model: haiku
server: context7
tool: resolve-library-id
prompt_argument: libraryName
---
Find the library.
"""
USER_SERVER = {"command": "npx", "args": ["-y", "@upstash/context7-mcp@4.1.1", "--api-key", "ctx7sk-journey-0b1e"]}
ALL = ("promptcraft", "runner", "egress", "runner-servers")
SECRETS = (KEY, "ctx7sk-journey-0b1e")


@pytest.fixture(scope="module")
def registry(private_engine: PrivateEngine) -> Iterator[str]:
    with npm_mirror(private_engine) as address:
        yield address


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project(like="cloud")
    (project.root / ".agents/core/librarian.md").write_text(AGENT)
    home = project.root.parent / "home"
    (home / ".claude.json").write_text(json.dumps({"mcpServers": {"my-library": USER_SERVER}}))
    (home / ".claude.json").chmod(0o600)
    return project


@pytest.fixture(scope="module")
def deployed(project: Project, registry: str) -> Done:
    project.environment.update({"NPM_CONFIG_REGISTRY": registry, "PERPLEXITY_API_KEY": KEY})
    done = project.operate("up")
    assert done.code == 0, done.text
    return done


def runner(project: Project) -> Container:
    return project.engine.client.containers.get(f"promptcraft-{project.stack}-runner")


def servers(project: Project) -> Container:
    """The container that all three share, since the budget has no room for another."""
    return project.engine.client.containers.get(f"promptcraft-{project.stack}-runner-servers")


def inside(container: Container, script: str) -> str:
    output = container.exec_run(["sh", "-c", script]).output
    assert isinstance(output, bytes)
    return output.decode(errors="replace")


def test_up_ends_with_what_is_healthy_and_what_is_missing(deployed: Done, project: Project) -> None:
    table = deployed.text[deployed.text.rindex("PromptCraft ·") :]
    assert table.count(" ok ") == len(("promptcraft", "context7", "perplexity", "my-library"))
    assert "sentry is unavailable: SENTRY_AUTH_TOKEN is not set" in table
    running = {str(container.name) for container in project.containers() if container.status == "running"}
    assert running == {f"promptcraft-{project.stack}-{name}" for name in ALL}


def test_the_gateway_lists_the_tools_of_what_the_runner_started(deployed: Done, project: Project) -> None:
    servers = {server["name"]: server for server in project.ask(7862, "/api/mcp/servers").json()["servers"]}
    assert {tool["name"] for tool in servers["context7"]["tools"]} >= {"resolve-library-id", "query-docs"}
    assert servers["my-library"]["tools"] and servers["perplexity"]["tools"]


def test_the_plan_says_whose_keys_can_be_read_by_whom(deployed: Done, project: Project) -> None:
    plan = project.outputs()["plan"]
    shares = "shares the runner with context7, my-library, because the budget leaves 4 MiB"
    assert plan["perplexity"]["reason"].endswith(shares) and f"perplexity: {shares}, so they can" in deployed.text
    assert "shares" not in plan["context7"]["reason"]


def test_a_tool_is_called_through_the_gateway(deployed: Done, project: Project) -> None:
    body = {"input": "pulumi", "arguments": {"query": "how to test a program"}}
    # Its server tries for a while where its own service can't be reached.
    run = project.ask(7862, "/api/agents/librarian/runs", "POST", json=body, seconds=120).json()
    # Whether Context7's own service can be reached from here is not ours to say; its server answered.
    assert (run["server"], run["tool"]) == ("context7", "resolve-library-id")
    assert "librar" in (run["output"] or run["error"]["message"]).lower()


def test_keys_are_in_secret_files_alone(deployed: Done, project: Project) -> None:
    seen = inside(runner(project), "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; ls -l /run/promptcraft/secrets")
    seen += inside(servers(project), "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ")
    assert "context7-mcp" in seen and "server-perplexity.json" in seen
    texts = {"processes": seen, "output": deployed.text}
    for container in project.containers():
        texts[f"inspect {container.name}"] = json.dumps(container.attrs)
        texts[f"logs {container.name}"] = container.logs().decode(errors="replace")
    for folder in ("state", "project/.promptcraft"):
        for path in (project.root.parent / folder).rglob("*"):
            if path.is_file():
                texts[str(path)] = path.read_text(errors="replace")
    assert [where for where, text in texts.items() for secret in SECRETS if secret in text] == []


def test_a_second_up_changes_nothing(deployed: Done, project: Project) -> None:
    preview = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert preview.code == 0, preview.text


def test_the_limits_hold_what_is_used(deployed: Done, project: Project) -> None:
    budget = project.outputs()["budget"]
    assert budget["memory_mb"] <= budget["limit_mb"] == 500
    used = {}
    for name in ALL:
        container = project.engine.client.containers.get(f"promptcraft-{project.stack}-{name}")
        stats: Any = container.stats(stream=False)
        cpu = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        used[name] = stats["memory_stats"]["usage"] / 2**20
        print(f"{name}: {used[name]:.0f} of {stats['memory_stats']['limit'] / 2**20:.0f} MiB, {cpu:.1f} s CPU so far")  # noqa: T201
    assert sum(used.values()) < budget["memory_mb"]


def test_a_server_that_dies_is_started_again(deployed: Done, project: Project) -> None:
    container = servers(project)
    before = inside(container, "grep -l dist/index.js /proc/[0-9]*/cmdline")
    kill = "for f in /proc/[0-9]*/cmdline; do grep -q context7-mcp/dist $f && kill -9 $(echo $f | cut -d/ -f3); done"
    inside(container, kill)
    health = "exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"

    def all_ready() -> bool:
        after = inside(container, "grep -l dist/index.js /proc/[0-9]*/cmdline")
        told = inside(runner(project), f"bash -c {shlex.quote(health)}")
        return before != after and told.count('"state":"ready"') == len(("context7", "perplexity", "my-library"))

    until(all_ready, 120)


def test_without_the_registry_the_rest_runs_and_says_what_is_missing(new_project: Callable[..., Project]) -> None:
    project = new_project(like="cloud", config={"portOffset": 500, "npmRegistry": "http://127.0.0.1:9/"})
    up = project.operate("up")
    assert re.search(r"context7: .* is down for the application's container: .*npm registry cannot be reached", up.text)
    assert project.ask(8362, "/health").json()["status"] == "ok"
