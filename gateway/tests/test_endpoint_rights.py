"""Access, caller and what is asked for at `/mcp`: there where a glob allows it, and else as if it did not exist."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND, PromptReference

from gateway.endpoint.names import exposed
from gateway.tests.conftest import Gateway, agent, as_json, gateway, model_server, plan_of, service
from gateway.tests.test_endpoint import ERAS, LONG, all_tools, at, rich_mcp

ACCESS = {
    "all": ["*"],
    "server": ["one__*"],
    "tool": ["one__say"],
    "letters": ["one__[st]a?"],
    "agents": ["agent__*"],
    "prompt": ["two__greet"],
    "alias": [f"{LONG}__say"],
    # Globs count by a tool's own name: neither another case nor a shortened name gives anything.
    "wrong": ["ONE__SAY", exposed(LONG, "say"), "one_say", "say", "mcp+one+*"],
    "nothing": [],
}
# Callers that `access` does not name.
UNNAMED = ("absent", "")
SAY: dict[str, str] = {"text": "x"}
TELL: dict[str, str] = {}
# What may be called by whom: the path, the name there, its arguments.
CALLS: dict[tuple[str, str], set[str]] = {
    ("/mcp", "one__say"): {"all", "server", "tool", "letters"},
    ("/mcp", "two__say"): {"all"},
    ("/mcp", "one__told"): {"all", "server"},
    ("/mcp", exposed(LONG, "say")): {"all", "alias"},
    ("/mcp", "agent__engineer"): {"all", "agents"},
    ("/mcp", "ONE__SAY"): set(),
    ("/mcp", "one__SAY"): set(),
    ("/mcp", "say"): set(),
    ("/mcp", f"{LONG}__say"): set(),
    ("/mcp/one", "say"): {"all", "server", "tool", "letters"},
    ("/mcp/one", "one__say"): set(),
    ("/mcp/two", "say"): {"all"},
    (f"/mcp/{LONG}", "say"): {"all", "alias"},
    ("/mcp/ONE", "say"): set(),
    ("/mcp/agent", "engineer"): set(),
}
PROMPTS = {("/mcp", "one__greet"): {"all", "server"}, ("/mcp/two", "greet"): {"all", "prompt"}}
RESOURCES = {
    ("/mcp", "mcp+one+note:///first"): {"all", "server"},
    ("/mcp/one", "note:///first"): {"all", "server"},
    ("/mcp", "mcp+two+note:///first"): {"all"},
    ("/mcp", "note:///first"): set(),
}


def token_of(caller: str) -> str:
    return f"token-of-{caller}-0123456789"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("rights")
    with ExitStack() as stack:
        yield stack.enter_context(guarded(folder, stack))


def guarded(folder: Path, stack: ExitStack, **settings: str) -> Any:
    one, _ = stack.enter_context(rich_mcp(folder, "one", STATELESS="yes"))
    two, _ = stack.enter_context(rich_mcp(folder, "two", STATELESS="yes"))
    models = stack.enter_context(model_server(folder))
    definition = folder / "engineer.json"
    definition.write_text(as_json("---\nname: engineer\ndescription: Builds\nmodel: sonnet\n---\nBe brief.\n"))
    services = {
        "one": service("mcp", one),
        "two": service("mcp", two),
        LONG: service("mcp", one),
        "models": service("openai", models.endpoint),
    }
    plan = plan_of(services, {"engineer": agent(definition)}, models)
    if not settings:
        plan["access"] = ACCESS
    hashes = folder / "tokens"
    lines = [f"{hashlib.sha256(token_of(it).encode()).hexdigest()} {it}" for it in (*ACCESS, *UNNAMED)]
    hashes.write_text("\n".join(lines))
    return gateway(folder, plan, PROMPTCRAFT_TOKENS_FILE=str(hashes), **settings)


@asynccontextmanager
async def connected(on: Gateway, caller: str, path: str, era: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token_of(caller)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(at(on, path), http_client=http), mode=era) as client,
    ):
        yield client


def tried(on: Gateway, caller: str, path: str, era: str, ask: Callable[[Client], Awaitable[Any]]) -> Any:
    """What comes of it: the answer, or what the error says; None where there is nothing at that path."""

    async def asked() -> Any:
        answer = None
        try:
            async with connected(on, caller, path, era) as client:
                try:
                    answer = await ask(client)
                except MCPError as error:
                    answer = (error.error.code, error.error.message)
        except* MCPError:
            pass
        return answer

    return asyncio.run(asked())


# What the client makes of a 404: there is no such server.
NO_SERVER = (None, (METHOD_NOT_FOUND, "Not Found"))


def is_unknown(answer: Any, path: str, name: str) -> bool:
    if path != "/mcp" and answer in NO_SERVER:
        return True
    return isinstance(answer, tuple) and answer[1].startswith("unknown ") and name in answer[1]


@pytest.mark.parametrize("caller", [*ACCESS, *UNNAMED])
def test_who_may_call_what(running: Gateway, caller: str) -> None:
    for era in ERAS:
        for (path, name), allowed in CALLS.items():
            arguments = {"input": f"hello {era}"} if "engineer" in name else TELL if name.endswith("told") else SAY
            answer = tried(running, caller, path, era, lambda on: on.call_tool(name, arguments))  # noqa: B023
            seen = answer is not None and not isinstance(answer, tuple) and not answer.is_error
            assert seen == (caller in allowed), (caller, path, name, era, answer)
            assert seen or is_unknown(answer, path, name), (caller, path, name, era, answer)
        for (path, name), allowed in PROMPTS.items():
            for ask in (
                lambda on: on.get_prompt(name, {"name": "x"}),  # noqa: B023
                lambda on: on.complete(PromptReference(name=name), {"name": "name", "value": "x"}),  # noqa: B023
            ):
                answer = tried(running, caller, path, era, ask)
                assert (answer is not None and not isinstance(answer, tuple)) == (caller in allowed), (name, answer)
        for (path, uri), allowed in RESOURCES.items():
            answer = tried(running, caller, path, era, lambda on: on.read_resource(uri))  # noqa: B023
            assert (answer is not None and not isinstance(answer, tuple)) == (caller in allowed), (caller, uri, answer)


@pytest.mark.parametrize("era", ERAS)
def test_lists_show_what_may_be_called_and_nothing_else(running: Gateway, era: str) -> None:
    names = {name for path, name in CALLS if path == "/mcp"}
    for caller in (*ACCESS, *UNNAMED):
        listed = tried(running, caller, "/mcp", era, all_tools).keys()
        assert listed & names == {name for name in names if caller in CALLS["/mcp", name]}, caller
        resources = tried(running, caller, "/mcp", era, lambda on: on.list_resources()).resources
        assert bool(resources) == (caller in {"all", "server"}), caller


def test_what_was_refused_reached_no_server(running: Gateway) -> None:
    def said(path: str) -> list[str]:
        answer = tried(running, "all", path, ERAS[0], lambda on: on.call_tool("told", {}))
        found: list[str] = answer.structured_content["calls"]
        return found

    before = {path: said(path) for path in ("/mcp/one", "/mcp/two")}
    for caller in ("wrong", "nothing", "absent", "agents"):
        for path, name in CALLS:
            tried(running, caller, path, ERAS[0], lambda on: on.call_tool(name, {"text": "never"}))  # noqa: B023
    assert {path: said(path) for path in before} == before


def test_a_stranger_is_asked_for_a_token_at_either_door(running: Gateway) -> None:
    for path in ("/mcp", "/mcp/one", "/mcp/nobody"):
        for headers in ({}, {"Authorization": "Bearer nobody-knows-this-token"}):
            answer = running.api.post(path, json={}, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_in_production_without_access_there_is_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack, guarded(tmp_path, stack, ENVIRONMENT="production") as on:
        for era in ERAS:
            assert tried(on, "all", "/mcp", era, all_tools) == {}
            answer = tried(on, "all", "/mcp", era, lambda client: client.call_tool("one__say", SAY))
            assert answer[1] == "unknown tool: one__say"
            assert tried(on, "all", "/mcp/one", era, all_tools) in NO_SERVER
