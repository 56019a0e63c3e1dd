"""Neighbours for the gateway: a Redis, PAL, Qdrant's stand-in, an MCP server that counts; and the gateway itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp.client.client import Client
from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError

from reading.agent_definition import read_definition
from tests.scenarios import debian
from tests.warm import WarmRun, servers_python
from tests.zen_mcp import zen_mcp

ROOT = Path(__file__).parents[2]
# Generous: a busy machine takes its time, and a condition that comes true ends the wait.
START_SECONDS = 60.0
CLIENT_SECONDS = 180.0

Plan = dict[str, Any]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        # Only the pause between two looks; the condition decides.
        time.sleep(0.05)


@dataclass
class Process:
    """A process of ours; `stop` ends it as an engine would, `kill` as a crash would."""

    popen: subprocess.Popen[bytes] | WarmRun

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout=15)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


@contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[Process]:
    """Run a command; Python has its imports made already, unless something is to be loaded before them."""
    variables = {**os.environ, **environment}
    with log.open("ab") as output:
        if command[0] != sys.executable or "LD_PRELOAD" in environment:
            popen: subprocess.Popen[bytes] | WarmRun = subprocess.Popen(
                command, env=variables, cwd=ROOT, stdout=output, stderr=output
            )
        else:
            popen = servers_python().start(command[1:], variables, output, output)
    started = Process(popen)
    try:
        yield started
    finally:
        started.kill()


def plain_client(base_url: str | httpx2.URL) -> httpx2.Client:
    """For plain HTTP: without the certificates, since reading them costs more than most requests."""
    return httpx2.Client(base_url=base_url, timeout=CLIENT_SECONDS, trust_env=False, verify=False)


def answers(url: str) -> bool:
    try:
        # Without the certificates, as above.
        return httpx2.get(url, timeout=2, trust_env=False, verify=False).status_code == 200
    except httpx2.TransportError:
        return False


def redis_answers(port: int) -> bool:
    client = Redis(port=port, socket_timeout=2)
    try:
        return bool(client.ping())
    except AuthenticationError:
        return True
    except ConnectionError:
        return False
    finally:
        client.close()


@contextmanager
def redis_server(folder: Path, *options: str, port: int | None = None) -> Iterator[tuple[int, Process]]:
    port = port or free_port()
    command = [
        str(debian.binary("redis-server")),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
        *options,
    ]
    with process(command, folder / "redis.log", LD_LIBRARY_PATH=debian.library_path()) as server:
        wait_until(lambda: redis_answers(port), "redis answers")
        yield port, server


@pytest.fixture(scope="session")
def zen_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real Zen MCP, shared by all tests of a worker: it takes seconds to start."""
    with zen_mcp(tmp_path_factory.mktemp("zen")) as running:
        yield running.url


@dataclass
class ModelServer:
    """A server of models that does what tests write down for it; see `model_server.py`."""

    url: str
    process: Process

    @property
    def endpoint(self) -> str:
        return f"{self.url}/v1"

    def plays(self, *turns: dict[str, Any], model: str = "scripted") -> None:
        """From now on `model` does this, one turn a request."""
        httpx2.put(f"{self.url}/script/{model}", json=list(turns), trust_env=False, verify=False).raise_for_status()

    def requests(self, model: str = "scripted") -> list[dict[str, Any]]:
        """What it was sent since its script began."""
        found: list[dict[str, Any]] = httpx2.get(f"{self.url}/requests/{model}", trust_env=False, verify=False).json()
        return found

    def peak(self, model: str = "scripted") -> int:
        """How many requests it had at once."""
        return int(httpx2.get(f"{self.url}/peaks", trust_env=False, verify=False).json()["peaks"].get(model, 0))

    def models(self, **more: Any) -> dict[str, Any]:
        """The plan's `models` with this server alone."""
        names = dict.fromkeys(("opus", "sonnet", "haiku", "fable", "default"), "local:scripted")
        local = {"endpoint": self.endpoint, "host": None, "title": "Scripted", "names": ["scripted", "other"]}
        return {"local": {**local, "credential": None, **more}, "providers": {}, "names": names, "problem": None}


@contextmanager
def model_server(folder: Path, **environment: str) -> Iterator[ModelServer]:
    port = free_port()
    command = [sys.executable, str(ROOT / "gateway/tests/model_server.py")]
    with process(command, folder / "models.log", PORT=str(port), **environment) as server:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: listens(url), "the model server listens")
        yield ModelServer(url, server)


@contextmanager
def qdrant(folder: Path, port: int | None = None) -> Iterator[tuple[str, Process]]:
    port = port or free_port()
    command = [sys.executable, str(ROOT / "images/offline/qdrant/server.py")]
    environment = {"HOST": "127.0.0.1", "PORT": str(port), "QDRANT_STORAGE": str(folder / "qdrant")}
    with process(command, folder / "qdrant.log", **environment) as server:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/readyz"), "qdrant answers")
        yield url, server


@dataclass
class Gateway:
    """A running gateway; `api` and `page` are clients of its two ports."""

    process: Process
    api: httpx2.Client
    page: httpx2.Client
    log: Path

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def service(protocol: str, endpoint: str | None, **more: Any) -> dict[str, Any]:
    return {
        "action": "deploy" if endpoint else "omit",
        "source": "deployed" if endpoint else None,
        "endpoint": endpoint,
        "reason": "nothing was found",
        "stand_in": None,
        "protocol": protocol,
        "credential": None,
        **more,
    }


def as_json(text: str) -> str:
    """What a deployment makes of the text of an agent's file; a name and a description are added where it has none."""
    missing = "".join(f"{key}: x\n" for key in ("name", "description") if f"\n{key}:" not in text)
    return read_definition(text.replace("---\n", f"---\n{missing}", 1).encode()).to_json()


def agent(file: Path | None, **more: Any) -> dict[str, Any]:
    return {
        "tier": "project_core",
        "path": f".agents/core/{file.stem}.md" if file else None,
        "file": str(file) if file else None,
        "model": None,
        "problem": None,
        "shadowed": [],
        "dependencies": {},
        **more,
    }


def plan_of(
    services: dict[str, Any],
    agents: dict[str, Any] | None = None,
    server: ModelServer | None = None,
    **limits: Any,
) -> Plan:
    """A plan whose agents have the models of `server`, or none."""
    return {
        "schema_version": 1,
        "project": "promptcraft-hybrid",
        "stack": "dev",
        "services": services,
        "limits": {"max_concurrent_agents": 10, "models": {"opus": 3, "sonnet": 8, "haiku": 15}, **limits},
        "agents": agents or {},
        "models": server.models() if server is not None else {},
    }


@contextmanager
def gateway(folder: Path, plan: Plan, name: str = "gateway", **environment: str) -> Iterator[Gateway]:
    plan_file, log = folder / f"{name}.json", folder / f"{name}.log"
    plan_file.write_text(json.dumps(plan))
    page_port, api_port = free_port(), free_port()
    settings = {
        "PROMPTCRAFT_PLAN_FILE": str(plan_file),
        "PROMPTCRAFT_HOST": "127.0.0.1",
        "PROMPTCRAFT_PAGE_PORT": str(page_port),
        "PROMPTCRAFT_API_PORT": str(api_port),
        **environment,
    }
    with ExitStack() as stack:
        running = stack.enter_context(process([sys.executable, "-m", "gateway"], log, **settings))
        api = stack.enter_context(plain_client(f"http://127.0.0.1:{api_port}"))
        page = stack.enter_context(plain_client(f"http://127.0.0.1:{page_port}"))
        for client in (api, page):
            url = str(client.base_url.join("/health"))
            wait_until(lambda url=url: running.popen.poll() is not None or answers(url), "the gateway answers")  # type: ignore[misc]
            assert running.popen.poll() is None, log.read_text()
        yield Gateway(running, api, page, log)


@dataclass
class Street:
    """A gateway with its neighbours, all well."""

    gateway: Gateway
    redis_port: int
    redis: Process
    qdrant: Process
    models: ModelServer
    plan: Plan
    folder: Path


AI_ENGINEER = "---\nname: ai-engineer\ndescription: Builds\nmodel: sonnet\ntools: Read, Grep\n---\nBe brief.\n"


@contextmanager
def whole_street(tmp_path: Path, zen_url: str) -> Iterator[Street]:
    with ExitStack() as stack:
        password = tmp_path / "redis.secret"
        password.write_text("hunter2\n")
        redis_port, redis = stack.enter_context(redis_server(tmp_path, "--requirepass", "hunter2"))
        qdrant_url, vectors = stack.enter_context(qdrant(tmp_path))
        models = stack.enter_context(model_server(tmp_path))
        definition = tmp_path / "ai-engineer.json"
        definition.write_text(as_json(AI_ENGINEER))
        broken = tmp_path / "broken.json"
        broken.write_text('{"name": "broken"}')
        plan = plan_of(
            {
                "redis": service("redis", f"redis://127.0.0.1:{redis_port}", credential=str(password)),
                "qdrant": service("qdrant", qdrant_url, stand_in="over qdrant-edge-py"),
                "zen-mcp": service("mcp", zen_url),
                "models": service("openai", models.endpoint),
                "promptcraft": service("promptcraft", "http://promptcraft:7862"),
                "grafana": service("grafana", None),
            },
            {
                "ai-engineer": agent(
                    definition,
                    shadowed=[{"tier": "bundled_default", "path": ".agents/defaults/ai-engineer.md"}],
                    dependencies={"qdrant": qdrant_url},
                ),
                "broken": agent(broken),
                "lonely": agent(definition, dependencies={"grafana": None}),
                "missing": agent(tmp_path / "missing.json"),
            },
            models,
        )
        running = stack.enter_context(gateway(tmp_path, plan))
        yield Street(running, redis_port, redis, vectors, models, plan, tmp_path)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, zen_url: str) -> Iterator[Street]:
    """Shared by the tests of a module, which leave it as it was."""
    with whole_street(tmp_path_factory.mktemp("street"), zen_url) as built:
        yield built


@pytest.fixture
def own_street(tmp_path: Path, zen_url: str) -> Iterator[Street]:
    """One for a test that kills something in it, but not the Zen MCP, which is shared."""
    with whole_street(tmp_path, zen_url) as built:
        yield built


@contextmanager
def counting_mcp(
    folder: Path, delay: float = 0.0, *, transport: str = "streamable-http", token: str = ""
) -> Iterator[tuple[str, Process]]:
    port = free_port()
    command = [sys.executable, str(ROOT / "gateway/tests/counting_mcp.py")]
    environment = {"PORT": str(port), "DELAY_SECONDS": str(delay), "TRANSPORT": transport, "TOKEN": token}
    with process(command, folder / "counting.log", **environment) as server:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: listens(url), "the counting server listens")
        yield url, server


def listens(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def counts(url: str) -> dict[str, dict[str, int]]:
    async def ask() -> str:
        async with Client(f"{url}/mcp") as client:
            content = (await client.call_tool("counts", {})).content[0]
            return str(content.text)  # type: ignore[union-attr]

    found: dict[str, dict[str, int]] = json.loads(asyncio.run(ask()))
    return found


def define(folder: Path, name: str, model: str, server: str = "zen-mcp") -> dict[str, Any]:
    file = folder / f"{name}.json"
    file.write_text(as_json(f"---\nname: {name}\nmodel: {model}\nserver: {server}\n---\nYou are {name}.\n"))
    return agent(file)


def agents_in(folder: Path) -> dict[str, Any]:
    """One agent a model, each answered by Zen MCP's `chat`."""
    return {model: define(folder, model, model) for model in ("opus", "sonnet", "haiku")}


def run(on: Gateway, name: str, text: str, more: dict[str, Any] | None = None, /, **headers: str) -> httpx2.Response:
    return on.api.post(f"/api/agents/{name}/runs", json={"input": text, **(more or {})}, headers=headers)


def events_of(answer: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@contextmanager
def in_background(on: Gateway, name: str, text: str) -> Iterator[dict[str, Any]]:
    """Starts a run that lasts, and yields its record once it runs."""
    answers: list[Any] = []
    url = str(on.api.base_url)

    def ask() -> None:
        with plain_client(url) as client:
            try:
                answers.append(client.post(f"/api/agents/{name}/runs", json={"input": text}))
            except httpx2.TransportError as error:
                answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()

    def is_running() -> bool:
        return any(
            one["status"] == "running" and one["agent"] == name for one in on.api.get("/api/runs").json()["runs"]
        )

    wait_until(is_running, "the run is running")
    record: dict[str, Any] = next(one for one in on.api.get("/api/runs").json()["runs"] if one["status"] == "running")
    try:
        yield record
    finally:
        thread.join(timeout=CLIENT_SECONDS)
        record["answers"] = answers


@contextmanager
def http_answering(answer: bytes) -> Iterator[str]:
    """A server that reads a request and says `answer`, whatever was asked; empty, and it says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            kept = []
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                connection.settimeout(1)
                connection.recv(65_536)
                if answer:
                    connection.sendall(answer)
                    connection.close()
                else:
                    kept.append(connection)
            for connection in kept:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()
