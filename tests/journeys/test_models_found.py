"""A model server on this machine's loopback, as developers have one: agents and PAL answer with its words, until it is
gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from playwright.sync_api import expect

from gateway.tests.browser import PATIENCE_MS, chromium, opened
from tests.chat_completions import ANSWER, USAGE, ChatServer, chat_server
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.waiting import until

pytestmark = pytest.mark.engine

PAGE, API, ZEN = 7860, 7862, 8000
OLLAMA = ("127.0.0.1", 11434)
# Those of the repository.
AGENTS = ("ai-engineer", "code-reviewer", "summarizer")
TOKENS = {"input_tokens": USAGE["prompt_tokens"], "output_tokens": USAGE["completion_tokens"]}
NO_MODEL = (
    "agents have no model: set ANTHROPIC_API_KEY (or one of OPENAI_API_KEY, GEMINI_API_KEY, OPENROUTER_API_KEY, "
    "XAI_API_KEY) in .env, or start a model server such as Ollama"
)


@pytest.fixture(scope="module")
def serving() -> Iterator[ExitStack]:
    """Closed when the model server is to be gone."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def models(serving: ExitStack, private_engine: PrivateEngine) -> ChatServer:
    return serving.enter_context(chat_server(private_engine, OLLAMA, ["llama3.2:latest"]))


@pytest.fixture(scope="module")
def project(models: ChatServer, new_project: Callable[..., Project]) -> Project:
    return new_project()


def test_it_is_found_without_any_configuration(deployed: Done, project: Project) -> None:
    plan = project.outputs()["plan"]["models"]
    assert plan["endpoint"].endswith("/v1"), plan
    assert "models" in deployed.text


@pytest.mark.parametrize("agent", AGENTS)
def test_a_run_of_each_agent_comes_back_with_its_words(agent: str, deployed: Done, project: Project) -> None:
    run = project.ask(API, f"/api/agents/{agent}/runs", "POST", json={"input": "one two"}).json()
    assert (run["status"], run["output"]) == ("succeeded", ANSWER), json.dumps(run)
    assert {name: run["usage"][name] for name in TOKENS} == TOKENS


def test_each_agent_answers_on_the_page_too(deployed: Done, project: Project) -> None:
    used = f"{TOKENS['input_tokens']} + {TOKENS['output_tokens']} tokens"

    def asked() -> dict[str, str]:
        answers = {}
        with chromium() as running:
            for agent in AGENTS:
                with opened(running, f"http://127.0.0.1:{PAGE}/") as watched:
                    page = watched.page
                    page.select_option("#run-agent", agent)
                    page.fill("#run-input", f"on the page, {agent}")
                    page.click("#run-start")
                    expect(page.locator("#run-state")).to_contain_text(used, timeout=PATIENCE_MS)
                    answers[agent] = page.inner_text("#run-output")
        return answers

    assert project.inside(asked) == dict.fromkeys(AGENTS, ANSWER)


def test_pal_answers_with_its_words_under_its_own_name(deployed: Done, project: Project, models: ChatServer) -> None:
    arguments = {"prompt": "How large?", "model": "llama3.2", "working_directory_absolute_path": "/tmp"}

    async def asked() -> str:
        async with (
            httpx2.AsyncClient(timeout=60) as http,
            Client(streamable_http_client(f"http://127.0.0.1:{ZEN}/mcp", http_client=http)) as client,
        ):
            (content,) = (await client.call_tool("chat", arguments)).content
            return str(content.text)  # type: ignore[union-attr]

    said = project.inside(lambda: asyncio.run(asked()))
    assert json.loads(said)["content"].startswith(ANSWER), said
    assert models.asked[-1].host == "127.0.0.1:11434"


@pytest.fixture(scope="module")
def gone(deployed: Done, models: ChatServer, serving: ExitStack) -> None:
    """The person ends their model server."""
    serving.close()


def first_problem(project: Project, expected: str) -> str:
    """What the page shows first of what is wrong, once it has `expected` in it."""

    def shown() -> str:
        with chromium() as running, opened(running, f"http://127.0.0.1:{PAGE}/") as watched:
            first = watched.page.locator("#problems li").first
            expect(first).to_contain_text(expected, timeout=PATIENCE_MS)
            return first.inner_text()

    return project.inside(shown)


def test_while_it_is_gone_runs_and_the_page_say_so(gone: None, project: Project) -> None:
    run = project.ask(API, "/api/agents/summarizer/runs", "POST", json={"input": "are you there?"}).json()
    assert (run["status"], "local:llama3.2:latest" in run["error"]) == ("failed", True), run
    until(lambda: project.ask(API, "/api/health/detailed").json()["services"]["models"]["status"] == "down")
    assert first_problem(project, "models").startswith("models")


def test_the_next_up_says_that_no_agent_has_a_model_and_ends_well(gone: None, project: Project) -> None:
    up = project.operate("up")
    assert up.code == 0, up.text
    table = up.text[up.text.rindex("PromptCraft ·") :]
    assert table.splitlines()[-1] == NO_MODEL, table
    listed = project.ask(API, "/api/agents/available").json()["agents"]
    assert {one["id"]: (one["available"], one["reason"]) for one in listed} == dict.fromkeys(AGENTS, (False, NO_MODEL))
    assert first_problem(project, "agents have no model") == f"models {NO_MODEL}"
    refused = project.ask(API, "/api/agents/summarizer/runs", "POST", json={"input": "are you there?"})
    assert refused.status_code == 409 and NO_MODEL in refused.json()["error"]["message"], refused.text
