"""The MCP servers of the plan, and agents that choose a server and a tool of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.tests.conftest import (
    Gateway,
    agent,
    counting_mcp,
    free_port,
    gateway,
    plan_of,
    run,
    service,
)

DEFINITIONS = {
    "patient": "---\nmodel: haiku\nserver: slow\n---\nYou wait.\n",
    "chatty": "---\nmodel: haiku\nserver: zen-mcp\n---\nYou are chatty.\n",
    "librarian": "---\nmodel: haiku\nserver: context7\ntool: look_up\nprompt_argument: topic\n---\n",
    "old-timer": "---\nmodel: haiku\nserver: elder\ntool: look_up\nprompt_argument: topic\n---\n",
    "lost": "---\nserver: perplexity\ntool: ask\n---\n",
    "wrong": "---\nserver: context7\ntool: no_such_tool\n---\n",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, zen_url: str) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("servers")
    agents = {}
    for name, text in DEFINITIONS.items():
        file = folder / f"{name}.md"
        file.write_text(text)
        agents[name] = agent(file)
    with ExitStack() as stack:
        context7, _ = stack.enter_context(counting_mcp(folder))
        elder, _ = stack.enter_context(counting_mcp(folder, transport="sse"))
        keyed, _ = stack.enter_context(counting_mcp(folder, token="geheim"))
        slow, _ = stack.enter_context(counting_mcp(folder, delay=60.0))
        (folder / "headers.json").write_text('{"Authorization": "Bearer geheim"}')
        services = {
            "zen-mcp": service("mcp", zen_url),
            "keyed": service("mcp", f"{keyed}/mcp", headers=str(folder / "headers.json")),
            "keyless": service("mcp", f"{keyed}/mcp"),
            "slow": service("mcp", f"{slow}/mcp", answer_seconds=1.0),
            "context7": service("mcp", f"{context7}/mcp"),
            "elder": service("mcp", f"{elder}/sse"),
            "silent": service("mcp", f"http://127.0.0.1:{free_port()}"),
            "npx-only": service("mcp", "npx:@upstash/context7-mcp"),
            "perplexity": service("mcp", None, reason="PERPLEXITY_API_KEY is not set"),
            "grafana": service("grafana", None),
        }
        yield stack.enter_context(gateway(folder, plan_of(services, agents)))


def test_a_server_is_asked_with_the_headers_that_lie_in_its_file(running: Gateway) -> None:
    answer = running.api.get("/api/mcp/servers")
    servers = {one["name"]: one for one in answer.json()["servers"]}
    assert (servers["keyed"]["status"], servers["keyless"]["status"]) == ("ok", "down")
    assert "geheim" not in answer.text + running.log.read_text()


def test_an_answer_may_take_what_the_servers_entry_allows(running: Gateway) -> None:
    answered = run(running, "patient", "anything").json()
    assert answered["status"] == "failed" and answered["duration_ms"] < 30_000, answered


def test_every_mcp_server_is_asked_who_it_is_and_what_it_can_do(running: Gateway) -> None:
    servers = {one["name"]: one for one in running.api.get("/api/mcp/servers").json()["servers"]}
    assert set(servers) == {
        "zen-mcp",
        "context7",
        "elder",
        "silent",
        "npx-only",
        "perplexity",
        "keyed",
        "keyless",
        "slow",
    }
    assert servers["zen-mcp"]["status"] == servers["context7"]["status"] == "ok"
    assert (servers["context7"]["server_name"], servers["context7"]["version"]) == ("counting", "1")
    tools = {tool["name"]: tool for tool in servers["context7"]["tools"]}
    assert set(tools) == {"chat", "counts", "keep", "look_up"}
    assert tools["look_up"]["description"] == "Says what was asked of it."
    assert tools["look_up"]["required"] == ["library", "topic"]
    assert servers["zen-mcp"]["server_name"] == "PAL"
    assert "chat" in {tool["name"] for tool in servers["zen-mcp"]["tools"]}
    assert servers["silent"]["status"] == "down"
    assert servers["silent"]["problem"]
    # What npx would start is not started here.
    assert servers["npx-only"]["status"] == "down"
    assert servers["npx-only"]["problem"] == "npx:@upstash/context7-mcp is not served over HTTP"
    assert servers["perplexity"]["status"] == "omitted"
    assert servers["perplexity"]["reason"] == "PERPLEXITY_API_KEY is not set"
    assert servers["silent"]["tools"] == servers["perplexity"]["tools"] == []


def test_a_server_of_the_first_transport_is_used_as_well(running: Gateway) -> None:
    servers = {one["name"]: one for one in running.api.get("/api/mcp/servers").json()["servers"]}
    assert servers["elder"]["status"] == "ok", servers["elder"]
    assert servers["elder"]["tools"] == servers["context7"]["tools"]
    record = run(running, "old-timer", "hooks", {"arguments": {"library": "/facebook/react"}}).json()
    assert record["output"] == "/facebook/react on hooks", record


def test_an_agent_chooses_its_tool_and_the_caller_gives_the_rest(running: Gateway) -> None:
    record = run(running, "librarian", "hooks", {"arguments": {"library": "/facebook/react"}}).json()
    assert record["output"] == "/facebook/react on hooks", record
    assert (record["server"], record["tool"]) == ("context7", "look_up")
    # Other arguments are another result.
    again = run(running, "librarian", "hooks", {"arguments": {"library": "/vuejs/core"}}).json()
    assert again["output"] == "/vuejs/core on hooks"
    assert run(running, "chatty", "hello").json()["server"] == "zen-mcp"


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("librarian", {"topic": "not yours"}, "fixed_argument"),
        ("chatty", {"working_directory_absolute_path": "/etc"}, "fixed_argument"),
        ("chatty", {"model": "opus"}, "fixed_argument"),
        ("chatty", ["not", "an", "object"], "invalid_request"),
    ],
)
def test_arguments_that_are_not_the_callers_are_refused(running: Gateway, name: str, arguments: Any, code: str) -> None:
    answer = run(running, name, "x", {"arguments": arguments})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == code


def test_what_a_tool_says_of_wrong_arguments_reaches_the_caller(running: Gateway) -> None:
    assert "library" in run(running, "librarian", "hooks").json()["error"]
    assert "no_such_tool" in run(running, "wrong", "x").json()["error"]


def test_an_agent_whose_server_is_not_there_is_not_available_and_says_why(running: Gateway) -> None:
    agents = {one["id"]: one for one in running.api.get("/api/agents/available").json()["agents"]}
    assert agents["librarian"]["available"] is True
    assert (agents["librarian"]["server"], agents["librarian"]["tool"]) == ("context7", "look_up")
    assert agents["lost"]["reason"] == "needs the MCP server perplexity, which this stack does not have"
    assert run(running, "lost", "x").status_code == 409
