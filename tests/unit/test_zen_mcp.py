"""PAL behind its bridge, as the image runs them: real processes, asked over HTTP and by the official MCP client."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import psutil
import pytest
import requests
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.chat_completions import ANSWER, REFUSED, SILENCE, ChatServer, chat_server
from tests.scenarios.tls import certificate
from tests.waiting import until
from tests.zen_mcp import FOLDER, Zen, zen_mcp

MCP_HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
TOKEN = "correct horse"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
KEYS = {
    "openaiApiKey": "openai-key-of-the-tests-4d1e",
    "geminiApiKey": "gemini-key-of-the-tests-90b2",
    "openrouterApiKey": "openrouter-key-of-the-tests-c7aa",
    "xaiApiKey": "xai-key-of-the-tests-11f8",
    "modelsKey": "models-key-of-the-tests-5e03",
}
# As a server may list them; PAL ends where two names or aliases are the same to it.
LISTED = "llama3.2:latest,qwen3:4b, Qwen3:4B,mistral:latest,mistral,,qwen3:4b"
RELAYED_HOST = "127.0.0.1:11434"


@pytest.fixture(scope="module")
def models() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


@pytest.fixture(scope="module")
def zen(models: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zen]:
    folder = tmp_path_factory.mktemp("zen")
    (folder / "secrets").mkdir()
    for name, text in {**KEYS, "zen-mcp": TOKEN}.items():
        (folder / "secrets" / name).write_text(f"{text}\n")
    with zen_mcp(
        folder,
        PROMPTCRAFT_MODELS_URL=models.url,
        PROMPTCRAFT_MODELS=LISTED,
        PROMPTCRAFT_MODELS_HOST=RELAYED_HOST,
        DISABLED_TOOLS="tracer",
    ) as running:
        yield running


def asked(url: str, ask: Callable[[Client], Any], mode: str = "auto") -> Any:
    """What `ask` comes to with the official client and the token."""

    async def answer() -> Any:
        async with (
            httpx2.AsyncClient(headers=RIGHT, timeout=60) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            return await ask(client)

    return asyncio.run(answer())


def call(zen: Zen, tool: str, **arguments: str) -> tuple[bool, str]:
    """Whether the tool failed, and what it said."""
    result = asked(zen.url, lambda client: client.call_tool(tool, arguments))
    (content,) = result.content
    said = json.loads(content.text)["content"] if content.text.startswith("{") else content.text
    return result.is_error, said


def chat(zen: Zen, prompt: str, model: str) -> tuple[bool, str]:
    return call(zen, "chat", prompt=prompt, model=model, working_directory_absolute_path="/tmp")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_reaches_its_tools_but_none_that_starts_programs(zen: Zen, mode: str) -> None:
    async def ask(client: Client) -> tuple[str, set[str]]:
        assert client.server_info is not None
        return client.server_info.name, {tool.name for tool in (await client.list_tools()).tools}

    name, tools = asked(zen.url, ask, mode)
    assert name == "PAL"
    assert tools >= {"chat", "listmodels", "version", "codereview"}
    assert not tools & {"clink", "jules", "tracer"}


def test_it_says_its_version_and_asks_nobody_for_another(zen: Zen) -> None:
    (pinned,) = (line for line in (FOLDER / "pal" / "requirements.txt").read_text().splitlines() if "==" in line)
    failed, said = call(zen, "version")
    assert (failed, f"**Current Version**: {pinned.partition('==')[2]}" in said) == (False, True), said
    assert "urllib not available, cannot check for updates" in zen.log.read_text()


def test_it_lists_the_models_of_the_local_server_and_of_each_provider_with_a_key(zen: Zen) -> None:
    failed, said = call(zen, "listmodels")
    assert not failed
    for name in ("llama3.2:latest", "qwen3:4b", "mistral:latest"):
        assert f"`{name}`" in said
    assert "Qwen3:4B" not in said
    for provider in ("Google Gemini", "OpenAI", "X.AI (Grok)", "OpenRouter"):
        assert f"## {provider} ✅" in said


@pytest.mark.parametrize("name", ["llama3.2:latest", "llama3.2"])
def test_a_chat_comes_back_with_the_local_servers_words(name: str, zen: Zen, models: ChatServer) -> None:
    failed, said = chat(zen, "How large?", name)
    assert (failed, said.startswith(ANSWER)) == (False, True), said
    question = models.asked[-1]
    assert "How large?" in question.text
    assert (question.body["model"], question.host) == ("llama3.2:latest", RELAYED_HOST)
    assert question.authorization == f"Bearer {KEYS['modelsKey']}"


def test_a_model_that_nobody_has_is_an_error_that_lists_those_there_are(zen: Zen) -> None:
    failed, said = chat(zen, "How large?", "no-such-model")
    assert failed
    assert "'no-such-model' is not available" in said and "llama3.2" in said


def test_a_key_that_is_said_back_is_passed_on_to_nobody(zen: Zen, models: ChatServer) -> None:
    failed, said = chat(zen, REFUSED, "llama3.2")
    assert failed and "Incorrect API key provided: Bearer [key]" in said, said
    assert models.asked[-1].authorization == f"Bearer {KEYS['modelsKey']}"
    until(lambda: "Incorrect API key provided" in zen.log.read_text())
    assert KEYS["modelsKey"] not in said + zen.log.read_text()


def test_keys_are_in_no_environment_of_a_process_and_in_no_log(zen: Zen) -> None:
    environments = {pid: Path(f"/proc/{pid}/environ").read_text() for pid in (zen.bridge.pid, zen.pal.pid)}
    assert all("PROMPTCRAFT_MODELS_URL" in text for text in environments.values())
    told = [*environments.values(), zen.log.read_text()]
    assert [key for key in (*KEYS.values(), TOKEN) for text in told if key in text] == []


def test_it_tells_the_memory_and_cpu_time_of_both_programs(zen: Zen) -> None:
    text = requests.get(f"{zen.url}/metrics", timeout=5).text
    figures = dict(line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    own = sum(psutil.Process(pid).memory_info().rss for pid in (zen.pal.pid, zen.bridge.pid))
    assert float(figures["process_resident_memory_bytes"]) > 0.9 * own
    assert float(figures["process_cpu_seconds_total"]) > zen.pal.cpu_times().user


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Host", "evil.example", 421),
        ("Host", "zen-mcp.evil.example:8000", 421),
        ("Origin", "http://evil.example", 403),
        ("Host", "zen-mcp:8000", 200),
        ("Host", "localhost", 200),
        ("Origin", "http://localhost:7860", 200),
    ],
)
def test_it_answers_under_its_own_names_only(zen: Zen, header: str, value: str, status: int) -> None:
    headers = {**MCP_HEADERS, **RIGHT, header: value}
    assert requests.post(f"{zen.url}/mcp", json=INITIALIZE, headers=headers, timeout=30).status_code == status


def test_it_asks_for_the_bearer_token(zen: Zen) -> None:
    url = f"{zen.url}/mcp"
    for authorization in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        answer = requests.post(url, json=INITIALIZE, headers={**MCP_HEADERS, **authorization}, timeout=30)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text

    async def without_token() -> None:
        async with Client(streamable_http_client(url)):
            pass

    with pytest.raises((MCPError, ExceptionGroup)):
        asyncio.run(without_token())


def test_without_a_model_it_is_well_and_says_what_to_set(tmp_path: Path) -> None:
    with zen_mcp(tmp_path, MCP_ALLOWED_HOSTS="zen.example:*, other.example") as running:
        failed, said = chat(running, "How large?", "llama3.2")
        assert failed
        assert "At least one API configuration is required" in said and "OPENAI_API_KEY" in said
        headers = {**MCP_HEADERS, "Host": "zen.example:8000"}
        assert requests.post(f"{running.url}/mcp", json=INITIALIZE, headers=headers, timeout=30).status_code == 200
        assert running.stop() == -signal.SIGTERM


def test_when_pal_dies_no_call_hangs_and_the_bridge_ends_so_that_both_start_anew(
    models: ChatServer, tmp_path: Path
) -> None:
    with (
        zen_mcp(tmp_path, PROMPTCRAFT_MODELS_URL=models.url, PROMPTCRAFT_MODELS="llama3.2") as running,
        ThreadPoolExecutor() as pool,
    ):
        before = len(models.asked)
        held = pool.submit(chat, running, SILENCE, "llama3.2")
        until(lambda: len(models.asked) > before)
        running.pal.kill()
        # No answer of the tool's, which may have acted.
        with pytest.RaisesGroup(pytest.RaisesExc(MCPError, match="Connection closed"), flatten_subgroups=True):
            held.result(timeout=10)
        assert requests.get(f"{running.url}/health", timeout=5).status_code == 503
        assert running.bridge.wait(timeout=30) == 1


def test_it_trusts_a_model_server_for_which_the_operators_authority_vouches(tmp_path: Path) -> None:
    with (
        chat_server(tls=certificate(tmp_path, "127.0.0.1")) as server,
        zen_mcp(
            tmp_path,
            PROMPTCRAFT_MODELS_URL=server.url,
            PROMPTCRAFT_MODELS="llama3.2",
            PROMPTCRAFT_AUTHORITIES=str(tmp_path / "cert.pem"),
        ) as running,
    ):
        failed, said = chat(running, "How large?", "llama3.2")
    assert (failed, said.startswith(ANSWER)) == (False, True), said


def test_the_operators_authorities_come_besides_the_public_ones(start_pal: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "public").write_text("public")
    (tmp_path / "own").write_text("own")
    told = start_pal.authorities({"PROMPTCRAFT_AUTHORITIES": str(tmp_path / "own")}, tmp_path / "public", tmp_path)
    assert Path(told["SSL_CERT_FILE"]).read_text().split() == ["public", "own"]
    assert start_pal.authorities({}, tmp_path / "public", tmp_path) == {}


@pytest.fixture(scope="module")
def start_pal() -> ModuleType:
    """The program that starts PAL, as a module."""
    specification = importlib.util.spec_from_file_location("start_pal", FOLDER / "start_pal.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("llama3.2:latest", {"llama3.2:latest": ["llama3.2"]}),
        ("mistral:latest,mistral", {"mistral:latest": [], "mistral": []}),
        (" a , ,A,b/c:7b@q4", {"a": [], "b/c:7b@q4": []}),
        ("", {}),
    ],
)
def test_the_list_that_pal_gets_has_each_name_once(
    listed: str, names: dict[str, list[str]], start_pal: ModuleType, tmp_path: Path
) -> None:
    variables = start_pal.local_models(
        {"PROMPTCRAFT_MODELS_URL": "http://x/v1", "PROMPTCRAFT_MODELS": listed}, tmp_path
    )
    written = json.loads(Path(variables["CUSTOM_MODELS_CONFIG_PATH"]).read_text())["models"]
    assert {one["model_name"]: one["aliases"] for one in written} == names


def test_without_a_local_server_pal_is_told_of_none(start_pal: ModuleType, tmp_path: Path) -> None:
    assert start_pal.local_models({"PROMPTCRAFT_MODELS": "a"}, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_an_empty_key_is_none(start_pal: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "xaiApiKey").write_text("\n")
    (tmp_path / "openaiApiKey").write_text(" key \n")
    (tmp_path / "anthropicApiKey").write_text("PAL has no such provider")
    assert start_pal.keys(tmp_path) == {"OPENAI_API_KEY": "key"}
