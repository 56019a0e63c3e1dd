"""Five clients with three MCP servers each: each with its own, as clients start them, against all through `/mcp`."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from bench.measure import Figure
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.journeys.npm_mirror import npm_mirror

_CLIENTS = 5
_CALLS = 60
_API = 7862
_MIB = 2**20
_VERSION = "2026.8.31"
# A server, and the words behind its package.
_SERVERS: Mapping[str, tuple[str, ...]] = {"everything": (), "memory": (), "filesystem": ("/tmp",)}
# What carries a call: the gateway, what speaks for the servers, and the servers' own containers.
_CARRIERS = ("promptcraft", "runner", "stdio", "servers")


@dataclass(frozen=True)
class _Way:
    """What one way of calling takes. `latency` in seconds at the median, `cpu` in seconds a call."""

    processes: int
    memory: int
    latency: float
    cpu: float


def figures() -> Iterator[Figure]:
    """Measure both ways, one after the other; then the engine and every server are gone."""
    with tempfile.TemporaryDirectory(prefix="promptcraft-bench-") as folder:
        direct = asyncio.run(_measured(_direct(Path(folder)), _children))
        with _deployed(Path(folder)) as project:
            through = project.inside(lambda: asyncio.run(_measured(_through(), lambda: _carriers(project))))
    clients = f"{_CLIENTS} clients, {len(_SERVERS)} servers each"
    side = f"{through.memory / _MIB:.0f} MiB against {direct.memory / _MIB:.0f} MiB PSS"
    count = f"{through.processes} against {direct.processes} processes"
    yield Figure("/mcp, memory against direct", through.memory / direct.memory, 0.25, "", f"{clients}: {side}")
    yield Figure("/mcp, processes against direct", through.processes / direct.processes, 0.25, "", count)
    hop = f"median {through.latency * 1000:.1f} ms against {direct.latency * 1000:.1f} ms, one call at a time"
    yield Figure("/mcp, the hop", (through.latency - direct.latency) * 1000, 5, "ms", hop)
    cpu = f"{through.cpu * 1000:.1f} ms against {direct.cpu * 1000:.1f} ms a call, without the clients"
    yield Figure("/mcp, CPU against direct", through.cpu / direct.cpu, 2, "", cpu)


async def _measured(connected: AsyncIterator[tuple[list[Client], str]], pids: Callable[[], list[int]]) -> _Way:
    async with asynccontextmanager(lambda: connected)() as (clients, tool):
        # Whatever is made at the first call is made.
        await _call(clients, tool, 2)
        processes = [psutil.Process(pid) for pid in pids()]
        before = _cpu_seconds(processes)
        taken = await _call(clients, tool, _CALLS)
        cpu = (_cpu_seconds(processes) - before) / len(taken)
        memory = sum(process.memory_full_info().pss for process in processes)
    return _Way(len(processes), memory, statistics.median(taken), cpu)


async def _call(clients: list[Client], tool: str, times: int) -> list[float]:
    taken = []
    for number in range(times):
        for client in clients:
            begun = time.perf_counter()
            answer = await client.call_tool(tool, {"message": f"line {number}"})
            taken.append(time.perf_counter() - begun)
            assert not answer.is_error, answer
    return taken


async def _direct(folder: Path) -> AsyncIterator[tuple[list[Client], str]]:
    """Clients that start their servers by `npx`, whose cache is warm."""
    environment = {**os.environ, "npm_config_cache": str(folder / "npm")}
    async with AsyncExitStack() as stack:
        asked = []
        for _ in range(_CLIENTS):
            for name in _SERVERS:
                server = StdioServerParameters(command="npx", args=_words(name), env=environment)
                client = await stack.enter_async_context(Client(server, read_timeout_seconds=120))
                await client.list_tools()
                if name == "everything":
                    asked.append(client)
        yield asked, "echo"


async def _through() -> AsyncIterator[tuple[list[Client], str]]:
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(_CLIENTS):
            client = await stack.enter_async_context(Client(f"http://127.0.0.1:{_API}/mcp", read_timeout_seconds=120))
            names = {tool.name for tool in (await client.list_tools()).tools}
            missing = [name for name in _SERVERS if not any(tool.startswith(f"{name}__") for tool in names)]
            assert not missing, f"the endpoint has no tools of {missing}"
            clients.append(client)
        yield clients, "everything__echo"


@contextmanager
def _deployed(folder: Path) -> Iterator[Project]:
    """A stack with the three servers in its runner. Raises `RuntimeError` where it can't be deployed."""
    engine = PrivateEngine()
    engine.prepare()
    engine.start()
    try:
        with npm_mirror(engine) as registry:
            project = Project.create(folder, engine)
            servers = {name: {"command": "npx", "args": _words(name)} for name in _SERVERS}
            file = folder / "home" / ".claude.json"
            file.write_text(json.dumps({"mcpServers": servers}))
            file.chmod(0o600)
            project.environment["NPM_CONFIG_REGISTRY"] = registry
            up = project.operate("up")
            if up.code != 0:
                raise RuntimeError(f"the stack could not be deployed:\n{up.text}")
            yield project
    finally:
        engine.close()


def _words(name: str) -> list[str]:
    return ["-y", f"@modelcontextprotocol/server-{name}@{_VERSION}", *_SERVERS[name]]


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True)]


def _carriers(project: Project) -> list[int]:
    """The processes of the containers that carry a call, as the kernel of this machine numbers them."""
    found = []
    for container in project.containers():
        name = str(container.name).removeprefix(f"promptcraft-{project.stack}-")
        if container.status == "running" and any(part in _CARRIERS for part in name.split("-")):
            told = container.top(ps_args="-o pid")
            found += [int(process[told["Titles"].index("PID")]) for process in told["Processes"]]
    return found


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
