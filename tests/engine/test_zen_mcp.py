"""The image of Zen MCP under the stack's restrictions: PAL answers, keeps its keys to itself, and comes back."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import requests
from docker.models.containers import Container
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from catalog import SERVICES
from tests.chat_completions import ANSWER, SILENCE, ChatServer
from tests.engine.private_engine import PrivateEngine
from tests.waiting import until
from toolchain.images import resolve
from toolchain.layout import layout

pytestmark = pytest.mark.engine

ZEN = SERVICES["zen-mcp"]
IMAGE = resolve.read(layout())["zen-mcp"].reference
PORT = 18600
TOKEN = "token-d4c0"
KEYS = {"openaiApiKey": "openai-4d1e", "geminiApiKey": "gemini-90b2", "xaiApiKey": "xai-11f8"}
SECRETS = "/run/promptcraft/secrets"
# Its image has no procps.
KILL = r"""
for it in /proc/[0-9]*; do
    case $(tr '\0' ' ' < "$it/cmdline") in python3\ /app/start_pal.py*) kill -9 "${it#/proc/}";; esac
done
"""


@dataclass(frozen=True)
class Running:
    container: Container
    engine: PrivateEngine

    def call(self, tool: str, **arguments: Any) -> tuple[bool, str]:
        """Whether the tool failed, and what it said, as somebody on the engine's machine is told."""

        async def asked() -> tuple[bool, str]:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=60) as http,
                Client(streamable_http_client(f"http://127.0.0.1:{PORT}/mcp", http_client=http)) as client,
            ):
                result = await client.call_tool(tool, arguments)
            (content,) = result.content
            text = str(content.text)  # type: ignore[union-attr]
            return result.is_error, json.loads(text)["content"] if text.startswith("{") else text

        return self.engine.namespace.run(lambda: asyncio.run(asked()))

    def chat(self, prompt: str, **more: Any) -> tuple[bool, str]:
        return self.call("chat", prompt=prompt, model="llama3.2", working_directory_absolute_path="/tmp", **more)

    def is_well(self) -> bool:
        def asked() -> int:
            return requests.get(f"http://127.0.0.1:{PORT}/health", timeout=5).status_code

        try:
            return self.engine.namespace.run(asked) == 200
        except requests.ConnectionError:
            return False

    def said(self, *command: str) -> str:
        output: Any = self.container.exec_run([*command]).output
        return str(output.decode(errors="replace"))


@pytest.fixture(scope="module")
def zen(
    private_engine: PrivateEngine, models: ChatServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("secrets")
    for name, text in {**KEYS, "zen-mcp": TOKEN}.items():
        (folder / name).write_text(text)
        # `make` runs the tests with a umask that leaves nothing to others, such as the container's user.
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
    restrictions: dict[str, Any] = {
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "user": ZEN.user,
        "mem_limit": f"{ZEN.memory_mb}m",
        "memswap_limit": f"{ZEN.memory_mb}m",
        "nano_cpus": int(ZEN.cpu_cores * 10**9),
        "pids_limit": ZEN.pids,
        "tmpfs": {path: f"rw,noexec,nosuid,nodev,size={size}m" for path, size in ZEN.tmpfs_mb.items()},
        "restart_policy": {"Name": "unless-stopped"},
    }
    container = private_engine.client.containers.run(
        IMAGE,
        name=f"zen-{secrets.token_hex(4)}",
        detach=True,
        ports={"8000/tcp": ("127.0.0.1", PORT)},
        volumes={str(folder): {"bind": SECRETS, "mode": "ro"}},
        environment={
            "LOG_LEVEL": "DEBUG",
            "PROMPTCRAFT_MODELS_URL": models.url,
            "PROMPTCRAFT_MODELS": "llama3.2:latest",
        },
        **restrictions,
    )
    running = Running(container, private_engine)
    until(running.is_well)
    yield running
    container.remove(force=True)


def test_pal_answers_with_the_words_of_the_local_model_server(zen: Running) -> None:
    failed, said = zen.call("version")
    assert not failed and "PAL MCP Server Version" in said
    failed, said = zen.call("listmodels")
    assert not failed and "`llama3.2:latest`" in said and "## OpenAI ✅" in said
    failed, said = zen.chat("How large?")
    assert (failed, said.startswith(ANSWER)) == (False, True), said


def test_its_secrets_are_no_files_to_talk_about(zen: Running, models: ChatServer) -> None:
    paths = [f"{SECRETS}/openaiApiKey", f"{SECRETS}/../secrets/zen-mcp", "/proc/self/environ", SECRETS, "/tmp/../run"]
    assert zen.said("cat", f"{SECRETS}/openaiApiKey") == KEYS["openaiApiKey"]
    before = len(models.asked)
    _, said = zen.chat("What is in these?", absolute_file_paths=paths)
    told = said + "".join(question.text for question in models.asked[before:])
    assert models.asked[before:] and not [key for key in (*KEYS.values(), TOKEN) if key in told]


def test_its_keys_are_in_no_inspection_no_log_and_no_environment_of_a_process(zen: Running) -> None:
    zen.container.reload()
    logs: Any = zen.container.logs()
    environments = zen.said("sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline")
    assert "PROMPTCRAFT_MODELS_URL" in environments and "start_pal.py" in environments
    told = json.dumps(zen.container.attrs) + logs.decode() + environments
    assert not [key for key in (*KEYS.values(), TOKEN) if key in told]


def test_it_fits_into_its_memory(zen: Running) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(zen.chat, [f"{number} " + "word " * 4000 for number in range(24)]))
    assert not [said for failed, said in answers if failed]
    used: Any = zen.container.stats(stream=False)
    assert used["memory_stats"]["usage"] < 0.85 * ZEN.memory_mb * 2**20


def test_after_kill_9_no_call_hangs_and_it_comes_back(zen: Running, models: ChatServer) -> None:
    before = len(models.asked)
    with ThreadPoolExecutor() as pool:
        held = pool.submit(zen.chat, SILENCE)
        until(lambda: len(models.asked) > before)
        zen.said("sh", "-c", KILL)
        with pytest.RaisesGroup(pytest.RaisesExc(MCPError, match="Connection closed"), flatten_subgroups=True):
            held.result(timeout=15)

    def is_another() -> bool:
        zen.container.reload()
        return zen.container.attrs["RestartCount"] == 1 and zen.is_well()

    until(is_another)
    failed, said = zen.chat("Are you back?")
    assert (failed, said.startswith(ANSWER)) == (False, True), said
