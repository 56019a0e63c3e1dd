"""The page in a real browser: what it shows is what the API says, and everybody can use it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from playwright.sync_api import Browser, Page, expect

from gateway.tests.browser import PATIENCE_MS, SHAPES, Watched, chromium, opened
from gateway.tests.conftest import Gateway, Street, gateway, plan_of, service, wait_until
from gateway.tests.test_tool_guard import LIST, POISONED, READ, Shifting, pin_of, shifting

# An en dash, as people write it.
NONE = "\N{EN DASH}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        with chromium() as running:
            yield running
    except FileNotFoundError as error:
        if os.environ.get("REQUIRE_ENGINE") == "1":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def used(street: Street) -> Street:
    """A street where agents have run, one of them twice."""
    for text in ("What is a lease?", "What is a lease?", "And a slot?"):
        assert street.gateway.api.post("/api/agents/ai-engineer/runs", json={"input": text}).status_code == 200
    return street


@pytest.fixture(scope="module")
def watched(browser: Browser, used: Street) -> Iterator[Watched]:
    """The page, opened once for the tests that only look."""
    with opened(browser, address(used.gateway)) as page:
        yield page


def address(on: Gateway) -> str:
    return str(on.page.base_url)


ROWS = """
    (id) => [...document.getElementById(id).children].map((row) => [...row.children].map((cell) => ({
        name: cell.dataset.name ?? "",
        text: cell.innerText.split(/\\s*\\n\\s*/).map((line) => line.trim()).filter(Boolean),
        time: cell.querySelector("time")?.dateTime ?? null,
    })))
"""


def rows(page: Page, table: str) -> dict[str, dict[str, Any]]:
    """What a table shows, by the first line of its row's head: lines of text by column, times as they are meant."""
    found = {}
    for head, *cells in page.evaluate(ROWS, table):
        found["/".join(head["text"])] = {cell["name"]: cell["time"] or cell["text"] for cell in cells}
    return found


def lines(*parts: str | None) -> list[str]:
    return [part for part in parts if part]


def milliseconds(value: float | None) -> list[str]:
    return [NONE if value is None else f"{int(value) if value == int(value) else value} ms"]


def services_as_said(health: dict[str, Any]) -> dict[str, Any]:
    return {
        "/".join(lines(name, "stand-in" if one["stand_in"] else None)): {
            "Health": lines(one["status"], one["problem"]),
            "Source": lines(one["source"] or NONE, one["action"]),
            "Endpoint": [one["endpoint"] or NONE],
            "Version": [one["version"] or NONE],
            "Latency": milliseconds(one["latency_ms"]),
            "Since": one["since"],
            "Why": lines(one["reason"] or NONE, one["stand_in"], one["differs"]),
        }
        for name, one in health["services"].items()
    }


def called(agent: dict[str, Any]) -> str:
    name, agent_id = str(agent["name"]), str(agent["id"])
    return name if name == agent_id else f"{name} ({agent_id})"


def shadowed(definition: dict[str, Any]) -> str:
    why = f" ({definition['problem']})" if definition["problem"] else ""
    return f"{definition['tier']}: {definition['path']}{why}"


def agents_as_said(agents: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "/".join(lines(called(one), one["description"])): {
            "Available": lines("yes" if one["available"] else "no", one["reason"]),
            "From": lines(one["tier"] or NONE, one["path"]),
            "Model": lines(one["model"] or NONE, one["answered_by"]),
            "Missing tools": [", ".join(one["missing_tools"]) or NONE],
            "Needs": [
                ", ".join(name if need["met"] else f"{name} (missing)" for name, need in one["dependencies"].items())
                or NONE
            ],
            "Shadows": [", ".join(map(shadowed, one["shadowed"])) or NONE],
        }
        for one in agents
    }


def used_as_said(usage: dict[str, Any]) -> list[str]:
    if not usage["requests"]:
        return [NONE]
    requests = f"{usage['requests']} request{'' if usage['requests'] == 1 else 's'}"
    return [f"{usage['input_tokens']} + {usage['output_tokens']} tokens", requests]


def runs_as_said(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        f"{one['agent']}/{one['id'][:8]}": {
            "Outcome": lines(one["status"], "from the cache" if one["cached"] else None, one["error"]),
            "Model": [one["model"]],
            "Asked": [one["answered_by"] or f"{one['server']}: {one['tool']}"],
            "Used": used_as_said(one["usage"]),
            "Took": milliseconds(one["duration_ms"]),
            "Begun": one["created"],
        }
        for one in runs
    }


def load_as_said(limits: dict[str, Any]) -> list[tuple[str, float, float]]:
    loads = {"all agents": limits["total"], **limits["models"]}
    said = [(name, one["running"], one["limit"]) for name, one in loads.items()]
    return [*said, ("waiting", limits["queue"]["waiting"], limits["queue"]["limit"])]


LOADS = """
    [...document.querySelectorAll("#load > li")].map((item) => {
        const meter = item.querySelector("meter");
        return [item.innerText.trim(), meter.getAttribute("aria-label"), meter.value, meter.max];
    })
"""


def loads(page: Page) -> list[tuple[str, float, float]]:
    """Name, how many, of how many; as written, and as the meter has it."""
    found: list[tuple[str, float, float]] = []
    for text, label, value, top in page.evaluate(LOADS):
        name, _, numbers = text.partition(": ")
        running, limit = (int(number) for number in numbers.split(" of "))
        assert label == text
        assert (value, top) == (running, limit)
        found.append((name, running, limit))
    return found


def settled(page: Page, on: Gateway, look: Callable[[dict[str, Any]], Any]) -> tuple[dict[str, Any], Any]:
    """What the API said of health, and what `look` saw while the page showed that very look at the services."""
    found: list[Any] = []

    def is_the_same_look() -> bool:
        health = on.page.get("/api/health/detailed").json()
        seen = look(health)
        found[:] = [health, seen]
        return bool(page.get_attribute("#at", "datetime") == health["at"])

    wait_until(is_the_same_look, "the page and the API are of one moment", PATIENCE_MS / 1000)
    return found[0], found[1]


def test_every_figure_is_what_the_api_says(watched: Watched, used: Street) -> None:
    page, on = watched.page, used.gateway

    def look(_: object) -> dict[str, Any]:
        shown: dict[str, Any] = {table: rows(page, table) for table in ("services", "agents", "runs")}
        shown["loads"] = loads(page)
        shown["overall"] = page.inner_text("#overall-text")
        shown["problems"] = page.locator("#problems > li").all_inner_texts()
        return shown

    health, shown = settled(page, on, look)
    assert shown["services"] == services_as_said(health)
    assert shown["loads"] == load_as_said(health["limits"])
    asked = [one for one in health["services"].values() if one["status"] != "omitted"]
    well = sum(one["status"] == "ok" for one in asked)
    assert shown["overall"] == f"{health['status']}: {well} of {len(asked)} services are well"
    agents = on.page.get("/api/agents/available").json()["agents"]
    assert shown["agents"] == agents_as_said(agents)
    runs = on.page.get("/api/runs").json()["runs"]
    assert len(runs) == 3
    assert list(shown["runs"]) == list(runs_as_said(runs))
    assert shown["runs"] == runs_as_said(runs)
    assert [one.split(" ", 2)[1] for one in shown["problems"]] == ["broken", "lonely", "missing"]
    assert page.inner_text("#stack") == on.page.get("/api/discovery/status").json()["stack"]
    assert page.title() == f"{health['status']} {NONE} PromptCraft dev"


def test_the_mcp_servers_are_shown_with_their_tools(watched: Watched, used: Street) -> None:
    watched.page.wait_for_selector("#servers tr")
    said = used.gateway.page.get("/api/mcp/servers").json()["servers"]
    shown = rows(watched.page, "servers")
    assert list(shown) == [f"{one['name']}/{one['reason']}" for one in said]
    for one, cells in zip(said, shown.values(), strict=True):
        assert cells["Health"] == lines(one["status"], one["problem"])
        assert cells["Is"] == [f"{one['server_name']} {one['version']}"]
        assert cells["Tools"] == [tool["name"] for tool in one["tools"]]


@pytest.fixture
def shifty(tmp_path: Path) -> Iterator[tuple[Shifting, Gateway]]:
    """A gateway with one server, two of whose tools are pinned."""
    with shifting(tmp_path) as notes:
        plan = plan_of({"notes": service("mcp", notes.url, pin=pin_of(tmp_path, READ, LIST))})
        with gateway(tmp_path, plan, PROMPTCRAFT_CHECK_SECONDS="30") as running:
            yield notes, running


def call_at_mcp(on: Gateway, tool: str, **arguments: str) -> None:
    async def ask() -> None:
        async with Client(str(on.api.base_url.join("/mcp")), mode="2026-07-28") as client:
            with suppress(MCPError):
                await client.call_tool(tool, arguments)

    # Playwright's own loop runs in this thread.
    with ThreadPoolExecutor(1) as beside:
        beside.submit(asyncio.run, ask()).result()


def test_calls_callers_and_changed_tools_are_shown(browser: Browser, shifty: tuple[Shifting, Gateway]) -> None:
    notes, on = shifty
    with opened(browser, address(on)) as watched:
        page = watched.page
        expect(page.locator("#no-calls")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#calls-part")).to_be_hidden()
        expect(page.locator("#tools-section")).to_be_hidden()
        hostile = "<img src=x onerror=document.title=1>"
        notes.has({**POISONED, "description": f"{POISONED['description']} {hostile}"}, LIST)
        call_at_mcp(on, "notes__list", secret="never-shown")
        call_at_mcp(on, "notes__read", prompt="never-shown")
        call_at_mcp(on, hostile)
        expect(page.locator("#calls tr")).to_have_count(3, timeout=PATIENCE_MS)
        expect(page.locator("#tools tr")).to_have_count(1, timeout=PATIENCE_MS)
        said = on.page.get("/api/mcp/calls").json()["calls"]
        shown = [[cell["text"] for cell in cells] for cells in page.evaluate(ROWS, "calls")]
        assert [(head[0], caller[0], outcome[0]) for head, caller, outcome, *_ in shown] == [
            (f"{one['server']}: {one['name']}" if one["server"] else one["name"], one["caller"], one["outcome"])
            for one in said
        ]
        assert [one["outcome"] for one in said] == ["refused", "blocked", "ok"]
        assert page.locator("#callers li").all_inner_texts() == [f"{said[0]['caller']} 3 calls, 2 without success"]
        (tool,) = on.page.get("/api/mcp/tools").json()["servers"][0]["tools"][-1:]
        (cells,) = rows(page, "tools").values()
        assert tool["name"] == "read" and cells["Served"] == ["no: blocked", tool["reason"]]
        assert len(cells["What changed"]) == len(tool["changes"]) and cells["Marks"]
        assert "never-shown" not in page.content() and page.locator("main img").count() == 0
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, "the page scrolls sideways"
        assert watched.complaints == []


def test_the_choice_is_of_the_agents_that_can_run(watched: Watched) -> None:
    assert watched.page.locator("#run-agent option").all_inner_texts() == ["ai-engineer"]


def test_a_run_of_somebody_else_appears_by_itself(watched: Watched, used: Street) -> None:
    page = watched.page
    page.evaluate("window.stayed = true")
    record = used.gateway.api.post("/api/agents/ai-engineer/runs", json={"input": "From elsewhere"}).json()
    row = page.locator("#runs tr").filter(has_text=record["id"][:8])
    expect(row).to_contain_text("succeeded", timeout=PATIENCE_MS)
    assert page.evaluate("window.stayed") is True


def test_an_agent_is_run_by_keyboard_alone(watched: Watched, used: Street) -> None:
    page = watched.page

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(wanted) => document.activeElement?.matches(wanted)", selector):
                return
        raise AssertionError(f"no way to {selector} by Tab")

    page.evaluate("document.activeElement?.blur()")
    tab_to("#run-agent")
    page.keyboard.type("ai-engineer")
    tab_to("#run-input")
    page.keyboard.type("By hand")
    tab_to("#run-start")
    page.keyboard.press("Enter")
    expect(page.locator("#run-state")).to_contain_text("succeeded in", timeout=PATIENCE_MS)
    record = used.gateway.api.get("/api/runs").json()["runs"][0]
    whole = used.gateway.api.get(f"/api/runs/{record['id']}").json()
    assert page.inner_text("#run-output") == whole["output"]
    tab_to("#runs button")
    page.keyboard.press("Enter")
    expect(page.locator("#run-output")).to_be_focused(timeout=PATIENCE_MS)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_keeps_anybody_out(browser: Browser, used: Street, shape: str) -> None:
    with opened(browser, address(used.gateway), shape) as watched:
        page = watched.page
        page.get_by_role("button", name="Show run").first.click()
        expect(page.locator("#run-output")).to_be_visible(timeout=PATIENCE_MS)
        found = Axe().run(page)
        assert found.response["passes"], "axe looked at nothing"
        assert found.violations_count == 0, found.generate_report()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, "the page scrolls sideways"


def test_an_open_page_keeps_what_is_being_read(watched: Watched) -> None:
    """Every state brings new latencies; what did not change stays in place, with the focus."""
    page = watched.page
    button = page.locator("#runs button").first
    button.focus()
    before = page.get_attribute("#at", "datetime")
    page.wait_for_function("(before) => document.getElementById('at').dateTime !== before", arg=before)
    expect(button).to_be_focused()


def test_it_asks_nobody_else_and_complains_of_nothing(watched: Watched, used: Street) -> None:
    """The last of those that share a page: it goes over all that the others made it do."""
    assert len(watched.requests) >= 4
    assert [url for url in watched.requests if not url.startswith((address(used.gateway), "data:"))] == []
    assert watched.complaints == []


def test_a_neighbour_that_goes_down_and_a_gateway_that_goes_away_are_seen(browser: Browser, own_street: Street) -> None:
    with opened(browser, address(own_street.gateway)) as watched:
        page = watched.page
        own_street.qdrant.kill()
        expect(page.locator("#overall-text")).to_contain_text("degraded", timeout=PATIENCE_MS)
        health, shown = settled(page, own_street.gateway, lambda _: page.locator("#problems > li").all_inner_texts())
        assert f"qdrant {health['services']['qdrant']['problem']}" in shown
        assert f"qdrant {health['services']['qdrant']['differs']}" in shown
        own_street.gateway.process.kill()
        expect(page.locator("#overall-text")).to_have_text("the gateway does not answer", timeout=PATIENCE_MS)


def test_a_token_is_asked_for_and_kept_for_the_session(browser: Browser, street: Street, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(hashlib.sha256(b"open sesame").hexdigest())
    with gateway(tmp_path, street.plan, name="guarded", PROMPTCRAFT_TOKENS_FILE=str(tokens)) as guarded:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address(guarded))
        page.get_by_label("This gateway asks for a bearer token").fill("open sesame", timeout=PATIENCE_MS)
        page.keyboard.press("Enter")
        expect(page.locator("#services tr")).to_have_count(len(street.plan["services"]), timeout=PATIENCE_MS)
        expect(page.locator("#token-form")).to_be_hidden()
        assert "open sesame" not in json.dumps([page.url, page.content()])
        context.close()
