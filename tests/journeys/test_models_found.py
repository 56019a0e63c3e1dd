"""A model server on this machine's loopback, as developers have one: agents and PAL answer with its words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.chat_completions import ANSWER, ChatServer, chat_server
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project

pytestmark = pytest.mark.engine

API, ZEN = 7862, 8000
OLLAMA = ("127.0.0.1", 11434)


@pytest.fixture(scope="module")
def models(private_engine: PrivateEngine) -> Iterator[ChatServer]:
    with chat_server(private_engine, OLLAMA, ["llama3.2:latest"]) as server:
        yield server


@pytest.fixture(scope="module")
def project(models: ChatServer, new_project: Callable[..., Project]) -> Project:
    return new_project()


def test_it_is_found_without_any_configuration(deployed: Done, project: Project) -> None:
    plan = project.outputs()["plan"]["models"]
    assert plan["endpoint"].endswith("/v1"), plan
    assert "models" in deployed.text


def test_a_run_of_an_agent_comes_back_with_its_words(deployed: Done, project: Project) -> None:
    run = project.ask(API, "/api/agents/summarizer/runs", "POST", json={"input": "one two"}).json()
    assert (run["status"], run["output"]) == ("succeeded", ANSWER), json.dumps(run)
    assert (run["usage"]["input_tokens"], run["usage"]["output_tokens"]) == (7, 3)


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
