"""Who may do what: `access` x caller x tool, as rights, and at the API of both ports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.callers import TokensError, load_callers
from gateway.rights import AGENTS, EVERYTHING, NOTHING, Access, Rights
from gateway.tests.conftest import (
    Gateway,
    agents_in,
    counting_mcp,
    gateway,
    plan_of,
    qdrant,
    redis_server,
    service,
    wait_until,
)
from planning.access import _reaches_into


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize(
    ("globs", "allowed"),
    [
        ((), set()),
        (("*",), {"a__get", "a__Get", "a__set.all", "ab__get", "agent__x"}),
        (("a__*",), {"a__get", "a__Get", "a__set.all"}),
        (("a__get",), {"a__get"}),
        (("A__get",), set()),
        (("a__Get",), {"a__Get"}),
        (("a*__get",), {"a__get", "ab__get"}),
        (("a__s*", "agent__x"), {"a__set.all", "agent__x"}),
        (("agent__*",), {"agent__x"}),
        (("a__[gs]et*",), {"a__get", "a__set.all"}),
        (("get",), set()),
    ],
)
def test_a_glob_is_held_against_the_tools_own_name(globs: tuple[str, ...], allowed: set[str]) -> None:
    tools = [("a", "get"), ("a", "Get"), ("a", "set.all"), ("ab", "get"), (AGENTS, "x")]
    rights = Rights(globs)
    assert {f"{server}__{tool}" for server, tool in tools if rights.allows(server, tool)} == allowed
    # What may have a tool that may be seen is not hidden.
    assert all(rights.allows_some_of(server) for server, tool in tools if f"{server}__{tool}" in allowed)


@pytest.mark.parametrize(
    "glob", ["*", "a*", "a__*", "a__", "a__get", "a_", "[a-c]*", "[!a]*", "*__", "*get", "?__x", "b__*"]
)
def test_preview_and_gateway_agree_which_servers_a_glob_reaches(glob: str) -> None:
    servers = ("a", "ab", "b", AGENTS)
    reached = [server for server in servers if Rights((glob,)).allows_some_of(server)]
    assert reached == [server for server in servers if _reaches_into(server, glob)]


@pytest.mark.parametrize(
    ("given", "production", "name", "path", "rights"),
    [
        (None, False, "anybody", "/mcp", EVERYTHING),
        (None, False, "ci", "/api/agents/x/runs", EVERYTHING),
        (None, True, "ci", "/api/agents/x/runs", EVERYTHING),
        (None, True, "ci", "/mcp", NOTHING),
        (None, True, "ci", "/mcp/context7", NOTHING),
        (None, True, "ci", "/elsewhere", NOTHING),
        ({"ci": Rights(("a__*",))}, True, "ci", "/mcp", Rights(("a__*",))),
        ({"ci": Rights(("a__*",))}, True, "ci", "/api/agents/available", Rights(("a__*",))),
        ({"ci": Rights(("a__*",))}, False, "CI", "/mcp", NOTHING),
        ({"ci": Rights(("a__*",))}, False, "anybody", "/api/events", NOTHING),
        ({}, False, "ci", "/mcp", NOTHING),
    ],
)
def test_what_access_gives(
    given: dict[str, Rights] | None, production: bool, name: str, path: str, rights: Rights
) -> None:
    assert Access(given, production).rights(name, path) == rights


def test_a_line_of_the_tokens_file_is_a_hash_and_perhaps_a_name(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    lines = [hash_of("a"), f"{hash_of('b')} ci", f"{hash_of('c')} ci", f"{hash_of('d')}  -", f"{hash_of('e')} # ci", ""]
    file.write_text("\n".join([*lines, f"# {hash_of('f')}", hash_of("b")]))
    callers = load_callers(file)
    names = {token: caller.name for token in "abcdef" if (caller := callers.of(token)) is not None}
    assert names == {"a": "unnamed", "b": "ci", "c": "ci", "d": "unnamed", "e": "unnamed"}
    # What is kept for a caller stays where it is when its token gains a name, and two tokens of one name are two.
    keys = {token: caller.key for token in "abcde" if (caller := callers.of(token)) is not None}
    assert keys == {token: hash_of(token)[:16] for token in "abcde"}


@pytest.mark.parametrize("rest", ["laptop of anna", "anybody", "unnamed", "-ci", "a" * 65, "c\u00e9"])
def test_what_is_no_name_is_refused_with_its_line(tmp_path: Path, rest: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{hash_of('a')}\n{hash_of('b')} {rest}\n")
    with pytest.raises(TokensError, match=r"tokens:2: what follows the hash is no caller's name; write one word"):
        load_callers(file)


# Two tokens share a name, as while one takes the other's place.
TOKENS = {"ci": ("ci-token-1", "ci-token-2"), "boss": ("boss-token",), "idle": ("idle-token",), "": ("plain-token",)}
ACCESS = {"ci": ["agent__opus", "counting__look_up"], "boss": ["*"], "idle": []}
AGENTS_SEEN = {"ci": {"opus"}, "boss": {"opus", "sonnet", "haiku"}, "idle": set(), "": set()}
SERVERS_SEEN: dict[str, dict[str, set[str] | None]] = {
    "ci": {"counting": {"look_up"}},
    "boss": {"counting": None, "zen-mcp": None},
    "idle": {},
    "": {},
}
EACH = [(name, token) for name, tokens in TOKENS.items() for token in tokens]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with `access`, where `boss` has run each agent once."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{hash_of(token)} {name}\n" for name, token in EACH))
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(folder))
        vectors, _ = stack.enter_context(qdrant(folder))
        services = {name: service("mcp", f"{url}/mcp") for name in ("counting", "zen-mcp")}
        services["qdrant"] = service("qdrant", vectors)
        plan = plan_of(services, agents_in(folder)) | {"access": ACCESS}
        running = stack.enter_context(gateway(folder, plan, PROMPTCRAFT_TOKENS_FILE=str(tokens)))
        for agent in ("opus", "sonnet", "haiku"):
            assert ask(running.api, "POST", f"/api/agents/{agent}/runs", "boss-token").status_code == 200
        wait_until(lambda: len(similar(running, "boss-token")) == 3, "the runs are remembered")
        yield running


def similar(on: Gateway, token: str) -> list[str]:
    """The agents of the past runs that are like one of each agent's."""
    found = ask(on.api, "GET", "/api/runs/similar?text=hello&limit=50", token).json()["runs"]
    return [one["agent"] for one in found]


def ask(client: httpx2.Client, method: str, path: str, token: str) -> httpx2.Response:
    body = {"input": "hello"} if method == "POST" and path.endswith("/runs") else None
    return client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})


def state_of(client: httpx2.Client, token: str) -> dict[str, Any]:
    """The first event of the page's stream."""
    with client.stream("GET", "/api/events", headers={"Authorization": f"Bearer {token}"}) as answer:
        lines = list(islice(answer.iter_lines(), 2))
    state: dict[str, Any] = json.loads(lines[1].removeprefix("data: "))
    return state


@pytest.mark.parametrize(("name", "token"), EACH)
@pytest.mark.parametrize("port", ["api", "page"])
def test_each_caller_sees_and_runs_what_access_gives_it(guarded: Gateway, port: str, name: str, token: str) -> None:
    client: httpx2.Client = getattr(guarded, port)
    seen = AGENTS_SEEN[name]
    for agent in ("opus", "sonnet", "haiku", "unknown"):
        answer = ask(client, "POST", f"/api/agents/{agent}/runs", token)
        expected = (404 if agent == "unknown" else 200) if agent in seen or name == "boss" else 403
        assert answer.status_code == expected, agent
        if expected == 403:
            error = answer.json()["error"]
            assert error["code"] == "not_allowed"
            assert f"`access` of the stack gives no agent__{agent}" in error["message"]
            assert error["message"].startswith(f"{name or 'unnamed'} has no agent ")
    assert {one["id"] for one in ask(client, "GET", "/api/agents/available", token).json()["agents"]} == seen

    servers = {
        one["name"]: {tool["name"] for tool in one["tools"]}
        for one in ask(client, "GET", "/api/mcp/servers", token).json()["servers"]
    }
    assert servers.keys() == SERVERS_SEEN[name].keys()
    for server, tools in SERVERS_SEEN[name].items():
        assert servers[server] == tools if tools is not None else len(servers[server]) > 1

    assert {one["agent"] for one in ask(client, "GET", "/api/runs", token).json()["runs"]} == seen
    state = state_of(client, token)
    assert {one["id"] for one in state["agents"]} == {one["agent"] for one in state["runs"]} == seen


@pytest.mark.parametrize(("name", "token"), EACH)
def test_of_past_runs_only_those_of_agents_that_may_be_run_are_found(guarded: Gateway, name: str, token: str) -> None:
    assert set(similar(guarded, token)) == AGENTS_SEEN[name]


@pytest.mark.parametrize(("name", "token"), EACH)
def test_a_run_is_shown_and_ended_only_for_who_may_run_its_agent(guarded: Gateway, name: str, token: str) -> None:
    for run in ask(guarded.api, "GET", "/api/runs", "boss-token").json()["runs"]:
        expected = 200 if run["agent"] in AGENTS_SEEN[name] else 403
        assert ask(guarded.api, "GET", f"/api/runs/{run['id']}", token).status_code == expected
        assert ask(guarded.api, "POST", f"/api/runs/{run['id']}/cancel", token).status_code == expected


def test_where_there_are_no_tokens_everybody_has_the_rights_of_anybody(tmp_path: Path) -> None:
    plan = plan_of({}, agents_in(tmp_path)) | {"access": {"anybody": ["agent__haiku"]}}
    with gateway(tmp_path, plan) as running:
        agents = running.api.get("/api/agents/available").json()["agents"]
        assert [one["id"] for one in agents] == ["haiku"]
        assert running.api.post("/api/agents/opus/runs", json={"input": "x"}).status_code == 403


def test_a_token_that_gains_a_name_keeps_its_conversations(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        port, _ = stack.enter_context(redis_server(tmp_path))
        services = {"zen-mcp": service("mcp", f"{url}/mcp"), "redis": service("redis", f"redis://127.0.0.1:{port}")}
        bearer = {"Authorization": "Bearer first-token"}
        for line in (hash_of("first-token"), f"{hash_of('first-token')} ci"):
            tokens.write_text(f"{line}\n")
            plan = plan_of(services, agents_in(tmp_path))
            with gateway(tmp_path, plan, PROMPTCRAFT_TOKENS_FILE=str(tokens)) as running:
                body = {"input": f"hello {line[64:]}", "session": "mine"}
                assert running.api.post("/api/agents/opus/runs", json=body, headers=bearer).status_code == 200
                kept = running.api.get("/api/sessions/mine", headers=bearer).json()["turns"]
    assert [turn["input"] for turn in kept] == ["hello ", "hello  ci"]
