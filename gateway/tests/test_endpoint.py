"""`/mcp`: one MCP server over all servers and agents of the plan, asked by the official client in both eras."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from gateway.endpoint.names import exposed
from gateway.tests.conftest import (
    ROOT,
    Gateway,
    Process,
    agent,
    as_json,
    free_port,
    gateway,
    listens,
    model_server,
    plan_of,
    process,
    service,
    wait_until,
)

ERAS = ("2026-07-28", "legacy")
LONG = "a-name-that-is-longer-than-what-providers-take-when-a-tool-follows"


@contextmanager
def rich_mcp(folder: Path, name: str, port: int = 0, **environment: str) -> Iterator[tuple[str, Process]]:
    port = port or free_port()
    command = [sys.executable, str(ROOT / "gateway/tests/rich_mcp.py")]
    with process(command, folder / f"{name}.log", PORT=str(port), NAME=name, **environment) as server:
        url = f"http://127.0.0.1:{port}/mcp"
        wait_until(lambda: listens(url), "the server listens")
        yield url, server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("endpoint")
    with ExitStack() as stack:
        one, _ = stack.enter_context(rich_mcp(folder, "one", STATELESS="yes"))
        two, _ = stack.enter_context(rich_mcp(folder, "two"))
        models = stack.enter_context(model_server(folder))
        definition = folder / "engineer.json"
        definition.write_text(
            as_json("---\nname: engineer\ndescription: Builds things\nmodel: sonnet\n---\nBe brief.\n")
        )
        plan = plan_of(
            {
                "one": service("mcp", one),
                "two": service("mcp", two),
                LONG: service("mcp", one),
                "silent": service("mcp", f"http://127.0.0.1:{free_port()}/mcp"),
                "unset": service("mcp", None, reason="KEY is not set"),
                "models": service("openai", models.endpoint),
            },
            {"engineer": agent(definition), "broken": agent(folder / "missing.json")},
            models,
        )
        yield stack.enter_context(gateway(folder, plan, PROMPTCRAFT_ANSWER_MIB="2"))


def at(on: Gateway, path: str = "/mcp") -> str:
    return str(on.api.base_url.join(path))


def asked(url: str, era: str, ask: Callable[[Client], Awaitable[Any]], **more: Any) -> Any:
    async def connected() -> Any:
        async with Client(url, mode=era, **more) as client:
            return await ask(client)

    return asyncio.run(connected())


async def all_tools(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        assert found.keys().isdisjoint(tool.name for tool in page.tools)
        found |= {tool.name: tool for tool in page.tools}
        if (cursor := page.next_cursor) is None:
            return found


def text_of(result: Any) -> str:
    return str(result.content[0].text)


@pytest.mark.parametrize("era", ERAS)
def test_every_tool_of_every_server_is_listed_under_a_name_of_its_own(running: Gateway, era: str) -> None:
    tools = asked(at(running), era, all_tools)
    assert {"one__say", "two__say", "agent__engineer"} <= tools.keys()
    assert all(len(name) <= 64 for name in tools)
    assert exposed(LONG, "say") in tools
    assert tools["one__say"].annotations.read_only_hint is True
    assert tools["one__add"].output_schema is not None
    # What can't run is not offered, and what is down or not there has nothing.
    assert not [name for name in tools if name.startswith(("agent__broken", "silent__", "unset__"))]


def test_a_thousand_tools_come_in_pages(tmp_path: Path) -> None:
    with (
        rich_mcp(tmp_path, "many", TOOLS="1000") as (url, _),
        gateway(tmp_path, plan_of({"many": service("mcp", url)})) as on,
    ):
        for era in ERAS:
            tools = asked(at(on), era, all_tools)
            assert {f"many__tool-{number:04}" for number in range(1000)} <= tools.keys()


@pytest.mark.parametrize("era", ERAS)
def test_a_call_reaches_the_server_that_its_name_says(running: Gateway, era: str) -> None:
    async def ask(client: Client) -> list[Any]:
        return [
            await client.call_tool("one__say", {"text": "a"}),
            await client.call_tool("two__say", {"text": "b"}),
            await client.call_tool(exposed(LONG, "say"), {"text": "c"}),
            await client.call_tool("one__add", {"first": 2, "second": 3}),
            await client.call_tool("one__fail", {}),
        ]

    first, second, third, sum_of, failed = asked(at(running), era, ask)
    assert [text_of(one) for one in (first, second, third)] == ["one: a", "two: b", "one: c"]
    assert sum_of.structured_content == {"result": 5}
    assert failed.is_error and "executing tool fail" in text_of(failed)


@pytest.mark.parametrize("era", ERAS)
def test_one_server_alone_keeps_its_own_names(running: Gateway, era: str) -> None:
    async def ask(client: Client) -> tuple[Any, Any]:
        return await all_tools(client), await client.call_tool("say", {"text": "a"})

    tools, said = asked(at(running, "/mcp/two"), era, ask)
    assert "say" in tools and "agent__engineer" not in tools
    assert text_of(said) == "two: a"


@pytest.mark.parametrize("era", ERAS)
def test_an_unknown_tool_is_an_error_of_the_protocol(running: Gateway, era: str) -> None:
    async def ask(client: Client) -> list[str]:
        said = []
        for name in ("one__SAY", "ONE__say", "one__nothing", "nobody__say", "say"):
            with pytest.raises(MCPError) as refused:
                await client.call_tool(name, {})
            said.append(refused.value.error.message)
        return said

    assert asked(at(running), era, ask)[2] == "unknown tool: one__nothing"


@pytest.mark.parametrize("era", ERAS)
def test_progress_is_passed_on(running: Gateway, era: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def ask(client: Client) -> Any:
        return await client.call_tool("two__count", {"to": 3}, progress_callback=heard)

    assert text_of(asked(at(running), era, ask)) == "done"
    assert told == [(1, 3, "at 1"), (2, 3, "at 2"), (3, 3, "at 3")]


@pytest.mark.parametrize("era", ERAS)
def test_prompts_and_resources_are_those_of_all_and_are_told_apart(running: Gateway, era: str) -> None:
    async def ask(client: Client) -> None:
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert {"one__greet", "two__greet"} <= prompts
        greeted = await client.get_prompt("two__greet", {"name": "Ada"})
        assert greeted.messages[0].content.text == "Greet Ada from two"  # type: ignore[union-attr]
        uris = {resource.uri for resource in (await client.list_resources()).resources}
        assert {"mcp+one+note:///first", "mcp+two+note:///first"} <= uris
        for uri, text in (
            ("mcp+two+note:///first", "the first note of two"),
            ("mcp+one+note:///7/body", "note 7 of one"),
        ):
            read = (await client.read_resource(uri)).contents[0]
            assert (read.uri, read.text) == (uri, text)  # type: ignore[union-attr]
        templates = {one.uri_template for one in (await client.list_resource_templates()).resource_templates}
        assert "mcp+two+note:///{number}/body" in templates
        linked = (await client.call_tool("two__link", {})).content[0]
        assert linked.uri == "mcp+two+note:///first"  # type: ignore[union-attr]
        for reference in (
            PromptReference(name="two__greet"),
            ResourceTemplateReference(uri="mcp+two+note:///{number}/body"),
        ):
            found = await client.complete(reference, {"name": "name", "value": "x"})
            assert found.completion.values == ["two-x"]
        with pytest.raises(MCPError, match="unknown resource"):
            await client.read_resource("note:///first")

    asked(at(running), era, ask)


def test_a_server_that_is_down_is_said_by_a_log_message(running: Gateway) -> None:
    for era in ERAS:
        said: list[Any] = []

        async def heard(params: Any, said: list[Any] = said) -> None:
            said.append(params)

        asked(at(running), era, all_tools, logging_callback=heard, log_level="info")
        assert [one.level for one in said] == ["warning"], (era, said)
        assert "silent" in said[0].data


@pytest.mark.parametrize("era", ERAS)
def test_an_agent_is_a_tool(running: Gateway, era: str) -> None:
    async def ask(client: Client) -> Any:
        return await client.call_tool("agent__engineer", {"input": f"hello in {era}"})

    answered = asked(at(running), era, ask)
    assert not answered.is_error, answered
    run = running.api.get(f"/api/runs/{answered.meta['ai.promptcraft/run']}").json()
    assert (run["agent"], run["status"], run["output"]) == ("engineer", "succeeded", text_of(answered))


def test_an_answer_beyond_the_bound_is_one_clear_error(running: Gateway) -> None:
    async def ask(client: Client) -> str:
        assert len(text_of(await client.call_tool("one__fill", {"kib": 900}))) == 900 * 2**10
        with pytest.raises(MCPError) as refused:
            await client.call_tool("one__fill", {"kib": 50 * 2**10})
        # The connection that others share is none the worse.
        assert text_of(await client.call_tool("one__say", {"text": "on"})) == "one: on"
        return refused.value.error.message

    for era in ERAS:
        assert "more than 2 MiB" in asked(at(running), era, ask)


def test_who_goes_away_cancels_the_call_at_the_server(running: Gateway) -> None:
    def told() -> dict[str, list[str]]:
        async def ask(client: Client) -> Any:
            return (await client.call_tool("one__told", {})).structured_content

        found: dict[str, list[str]] = asked(at(running), ERAS[0], ask)
        return found

    for era in ERAS:
        text = f"cancel me {era}"

        async def ask(client: Client, text: str = text) -> None:
            calling = asyncio.create_task(client.call_tool("one__wait", {"text": text}))
            while text not in (await client.call_tool("one__told", {})).structured_content["calls"]:
                await asyncio.sleep(0.05)
            calling.cancel()
            await asyncio.wait({calling})

        asked(at(running), era, ask)
        wait_until(lambda text=text: text in told()["cancelled"], f"cancelled in {era}")  # type: ignore[misc]


def test_a_slow_server_holds_up_no_other(running: Gateway) -> None:
    async def ask(client: Client) -> float:
        waiting = [asyncio.create_task(client.call_tool("two__wait", {"text": f"{number}"})) for number in range(20)]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert text_of(await client.call_tool("one__say", {"text": "quick"})) == "one: quick"
        taken = loop.time() - begun
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        return taken

    assert asked(at(running), ERAS[0], ask) < 5


def test_without_sessions_nothing_is_listened_to_or_ended(running: Gateway) -> None:
    for method in ("GET", "DELETE", "PUT"):
        answer = running.api.request(method, "/mcp", headers={"Accept": "text/event-stream"})
        assert answer.status_code == 405, answer.text
    assert running.api.post("/mcp/nobody", json={}).status_code == 404


def test_a_server_that_comes_back_is_found_again_and_no_call_is_made_twice(tmp_path: Path) -> None:
    for stateless in ("yes", "no"):
        folder = tmp_path / stateless
        folder.mkdir()
        port = free_port()
        with ExitStack() as stack:
            url, _ = stack.enter_context(rich_mcp(folder, "one", port, STATELESS=stateless))
            plan = plan_of({"one": service("mcp", url)})
            on = stack.enter_context(gateway(folder, plan))

            async def ask(client: Client) -> Any:
                assert text_of(await client.call_tool("one__say", {"text": "a"})) == "one: a"
                with pytest.raises(MCPError, match=r"may have been called|lost|ended"):
                    await client.call_tool("one__die", {})

            asked(at(on), ERAS[0], ask)
            stack.enter_context(rich_mcp(folder, "one", port, STATELESS=stateless))

            async def again(client: Client) -> Any:
                assert text_of(await client.call_tool("one__say", {"text": "b"})) == "one: b"
                return (await client.call_tool("one__told", {})).structured_content

            # Of the process before, which ended in the middle of a call, this one knows nothing: nothing was repeated.
            assert asked(at(on), ERAS[0], again)["calls"] == ["b"]


def test_a_page_of_a_list_that_changes_repeats_nothing() -> None:
    from gateway.endpoint.catalogue import page

    before = {name: name for name in "abcdef"}
    first, cursor = page(before, None, 2)
    second, cursor = page({name: name for name in "acdef0"}, cursor, 2)
    assert [name for name, _ in (*first, *second)] == ["a", "b", "c", "d"]
