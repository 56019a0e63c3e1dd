"""Discovery: what it costs with nothing running, with servers that never answer, and with a thousand of them.

Nothing else that listens on the machine is asked about what is measured here: names and ports are our own, and the
homes, projects and lock folders are made for the purpose.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Figure, Run, run

REPOSITORY = Path(__file__).resolve().parents[1]

_PAIRS = 5
_SILENT = 50
_MANY = 1000
_ALIVE_EVERY = 10


def figures() -> Iterator[Figure]:
    """Every figure of this file, one after the other."""
    yield _nothing_running()
    yield _silent_servers()
    yield from _many_servers()


@dataclass(frozen=True)
class _Place:
    """A home, a project and a lock folder of their own."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "MCP_LOCK_DIR": str(self.folder / "locks"),
        }

    def write(self, name: str, document: object) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))

    def discover(self, budget: float) -> Run:
        command = [sys.executable, "-m", "discovery", "--json", "--root", str(self.root), "--budget", str(budget)]
        return run(command, REPOSITORY, self.environment)


@contextmanager
def _place() -> Iterator[_Place]:
    with tempfile.TemporaryDirectory(prefix="promptcraft-bench-") as folder:
        place = _Place(Path(folder))
        for name in ("home", "locks", "root"):
            (place.folder / name).mkdir()
        for source in [*REPOSITORY.glob("Pulumi*.yaml"), *REPOSITORY.glob("images/references.json")]:
            place.write(str(source.relative_to(REPOSITORY)), source.read_text())
        yield place


def _nothing_running() -> Figure:
    """The median of ratios of neighbouring runs, so that a machine that slows down slows down both sides."""
    with _place() as place:
        imports = [sys.executable, "-c", "import requests, pydantic, yaml"]
        run(imports, REPOSITORY, place.environment)
        place.discover(2.0)
        ratios = []
        for _ in range(_PAIRS):
            base = run(imports, REPOSITORY, place.environment).seconds
            ratios.append(place.discover(2.0).seconds / base)
    detail = f"median of {_PAIRS}, last base {base * 1000:.0f} ms"
    return Figure("discovery, nothing running / importing its libraries", statistics.median(ratios), 4.0, "x", detail)


def _silent_servers() -> Figure:
    budget = 2.0
    with _place() as place, ExitStack() as stack:
        ports = [_silent(stack) for _ in range(_SILENT)]
        _configure(place, {f"silent-{number}": port for number, port in enumerate(ports)})
        done = place.discover(budget)
    detail = f"{_SILENT} servers that accept and never answer, whole process, budget {budget:g} s"
    return Figure("discovery, silent servers", done.seconds, budget + 0.5, "s", detail)


def _many_servers() -> Iterator[Figure]:
    """One server in ten lives; of the others, half refuse and half never answer."""
    with _place() as place, ExitStack() as stack:
        ports: dict[str, int] = {}
        for number in range(_MANY):
            name = f"server-{number}"
            if number % _ALIVE_EVERY == 0:
                ports[name] = _alive(stack, name)
            else:
                ports[name] = _silent(stack) if number % 2 else _refusing(stack)
        _configure(place, ports)
        done = place.discover(5.0)
    services = json.loads(done.stdout)["services"]
    alive = [f"server-{number}" for number in range(0, _MANY, _ALIVE_EVERY)]
    missed = sum(services[name]["selected"] is None for name in alive)
    detail = f"{_MANY} configured, {len(alive)} alive"
    yield Figure("discovery, many servers: alive but not found", missed, 0, "", detail)
    yield Figure("discovery, many servers: time", done.seconds, 5.0 + 0.5, "s", f"{detail}, budget 5 s")
    yield Figure("discovery, many servers: memory", done.peak_mib, 150, "MiB", detail)


def _configure(place: _Place, ports: Mapping[str, int]) -> None:
    """Half of the servers in `.mcp.json`, half in `.mcp/servers`, and each a service under its own name."""
    entries = {name: {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"} for name, port in ports.items()}
    names = list(entries)
    place.write(".mcp.json", {"mcpServers": {name: entries[name] for name in names[::2]}})
    for name in names[1::2]:
        place.write(f".mcp/servers/{name}.json", entries[name])
    place.write(".mcp/discovery-config.yaml", "servers:\n" + "".join(f"  {name}: {{}}\n" for name in names))


def _listen(stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=16))


def _silent(stack: ExitStack) -> int:
    """A port where the kernel accepts and nobody answers."""
    port: int = _listen(stack).getsockname()[1]
    return port


def _refusing(stack: ExitStack) -> int:
    """A port that is taken but not listened on, so that nobody else gets it meanwhile."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    port: int = taken.getsockname()[1]
    return port


def _alive(stack: ExitStack, name: str) -> int:
    """A port where an MCP server of that name answers."""
    listener = _listen(stack)
    threading.Thread(target=_serve, args=(listener, name), daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _serve(listener: socket.socket, name: str) -> None:
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(5)
            try:
                _answer(peer, name)
            except OSError:
                continue  # the peer has gone; the next may stay


def _answer(peer: socket.socket, name: str) -> None:
    """One HTTP exchange as a server of the legacy era has it (docs/fingerprints.md)."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += peer.recv(65536) or b" " * length
    status, reply = "400 Bad Request", b"Bad Request: Missing session ID"
    if b'"initialize"' in body:
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": name, "version": "1.0.0"}}
        status, reply = (
            "200 OK",
            json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": result}).encode(),
        )
    kind = "application/json" if status.startswith("200") else "text/plain"
    headers = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(reply)}\r\nConnection: close\r\n\r\n"
    peer.sendall(headers.encode() + reply)
