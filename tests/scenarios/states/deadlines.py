"""One deadline for all: nobody can stretch it, and one slow candidate costs no other."""

from __future__ import annotations

import socket

from ..emulators import grafana, legacy_mcp, ollama, qdrant, site
from ..impostors import (
    drip,
    dripping_body,
    dripping_events,
    dripping_headers,
    endless,
    endless_continue,
    endless_headers,
    gzip_bomb,
    late,
    one_long_header,
    raw,
    redirector,
    tarpit,
    yes_man,
)
from ..namespace import another_host
from ..scenario import Table, ends_within, lists, says, selects, stays_below
from ..servers import Reply, Talk, http
from ..world import World
from .crowds import crowd

scenario = Table()

_OTHERS = (6379, 8000, 8001, 8002, 9090, 3000)
_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

crowd(
    scenario,
    "they cost the budget at most, little memory, and no other service",
    {
        "silence": tarpit,
        "headers drop by drop": dripping_headers(),
        "a body drop by drop": dripping_body(),
        "a status line drop by drop": drip(b"HTTP/1.1 200 OK\r\n" * 20),
        "an event stream that never says anything": dripping_events(),
        "a body without end": endless(),
        "chunks without end": endless(b"1000\r\n" + b"x" * 4096 + b"\r\n", _CHUNKS),
        "headers without end": endless_headers(),
        "informational answers without end": endless_continue(),
        "events without end": endless(b"data: {}\n\n" * 100, _EVENTS),
        "a Redis line without end": endless(b"+" + b"x" * 65536, b""),
        "a Redis value of a terabyte": endless(b"x" * 65536, b"$1099511627776\r\n"),
        "a Redis list of a billion": endless(b"+x\r\n" * 100, b"*1000000000\r\n"),
        "Redis lists in lists": endless(b"*1\r\n" * 1000, b""),
        "a compressed bomb": gzip_bomb(),
        "a header of 200 KB": one_long_header(),
        "a body shorter than it claims": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n{}"),
    },
    ("unreachable", "impostor"),
    ends_within(3.5),
    stays_below(150),
    budget=3.0,
)


@scenario(
    "fifty configured servers that never answer cost the budget at most",
    selects("qdrant", 6333),
    ends_within(2.5),
    budget=2.0,
)
def _(world: World) -> None:
    names = [f"silent-{number}" for number in range(50)]
    for number in range(50):
        world.keep(socket.create_server(("127.0.0.1", 20000 + number)))
    entries = {n: {"type": "http", "url": f"http://127.0.0.1:{20000 + i}/mcp"} for i, n in enumerate(names)}
    world.write("root/.mcp.json", {"mcpServers": entries})
    world.write("root/.mcp/discovery-config.yaml", "servers:\n" + "".join(f"  {name}: {{}}\n" for name in names))
    world.serve(qdrant(), 6333)


@scenario(
    "a host that drops every packet costs the budget at most",
    lists("grafana", 7030, "unreachable"),
    selects("qdrant", 6333),
    ends_within(2.5),
    budget=2.0,
)
def _(world: World) -> None:
    # A full backlog is what a dropped packet looks like: the handshake is never answered.
    full = world.keep(socket.create_server(("127.0.0.1", 7030), backlog=0))
    for _ in range(3):
        waiting = world.keep(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())
    world.serve(qdrant(), 6333)
    world.set(GRAFANA_URL="http://127.0.0.1:7030")


def _elsewhere(world: World) -> None:
    """A Grafana that no engine of this machine can have anything to do with."""
    another_host("10.9.8.7")
    world.serve(grafana(), 7030, "10.9.8.7")
    world.set(GRAFANA_URL="http://10.9.8.7:7030")


_FOUND_ELSEWHERE = selects("grafana", 7030, hosts=frozenset({"10.9.8.7"}))


@scenario(
    "an engine that accepts and never answers costs the budget at most, and is named",
    _FOUND_ELSEWHERE,
    says("docker engine"),
    ends_within(2.5),
    budget=2.0,
)
def _(world: World) -> None:
    _elsewhere(world)
    engine = world.keep(socket.socket(socket.AF_UNIX))
    engine.bind(str(world.folder / "hung.sock"))
    engine.listen(8)
    world.set(DOCKER_HOST=f"unix://{world.folder}/hung.sock")


@scenario(
    "an engine that is not where DOCKER_HOST says is named", _FOUND_ELSEWHERE, says("docker engine"), ends_within(2.5)
)
def _(world: World) -> None:
    _elsewhere(world)
    world.set(DOCKER_HOST=f"unix://{world.folder}/absent.sock")


def _no_engine(what: str, talk: Talk) -> None:
    def start(world: World) -> None:
        _elsewhere(world)
        world.serve(talk, 2375)
        world.set(DOCKER_HOST="tcp://127.0.0.1:2375")

    checks = (_FOUND_ELSEWHERE, says("docker engine"), ends_within(2.5), stays_below(150))
    scenario(f"an engine that {what} costs the budget at most, and is named", *checks, budget=2.0)(start)


_no_engine("sends without end", endless())
_no_engine("answers 500", http(lambda _: Reply({"message": "\x1b[2J"}, 500)))
_no_engine("answers something else", yes_man("[1, 2"))
_no_engine("speaks an API of long ago", yes_man({"ApiVersion": "1.12", "Version": "1.0"}))
_no_engine("sends everybody elsewhere", redirector("http://127.0.0.1:7444"))


@scenario("a DOCKER_HOST that is no address costs nothing else", _FOUND_ELSEWHERE)
def _(world: World) -> None:
    _elsewhere(world)
    world.set(DOCKER_HOST="nonsense://\x1b[2J")


# As 1.1 s of the usual two, on a machine where other tests share the cores.
_LATE = 3.3
_EVERY = ("zen-mcp", "qdrant", "prometheus", "grafana", "models", "redis")


@scenario(
    "whoever takes more than half of the budget for each answer is found",
    *(selects(service, port) for service, port in zip(_EVERY, (8001, 6333, 9090, 3000, 11434, 6379), strict=True)),
    ends_within(6.3),
    budget=6.0,
)
def _(world: World) -> None:
    healthy = {
        "/-/healthy": Reply("Prometheus Server is Healthy.\n"),
        "/-/ready": Reply("Prometheus Server is Ready.\n"),
        "/api/v1/status/buildinfo": Reply({"status": "success", "data": {"version": "3.1.0", "goVersion": "go1.23"}}),
    }
    world.serve(late(legacy_mcp("PAL"), _LATE), 8001)
    world.serve(late(qdrant(), _LATE), 6333)
    world.serve(late(site(healthy), _LATE), 9090)
    world.serve(late(grafana(), _LATE), 3000)
    world.serve(late(ollama("llama3.2"), _LATE), 11434)
    world.redis(6379)


@scenario(
    "an MCP server at its root that takes more than half of the budget for each answer is found",
    selects("zen-mcp", 8000, path="/"),
    budget=6.0,
)
def _(world: World) -> None:
    world.serve(late(legacy_mcp("PAL", path="/"), _LATE), 8000)


@scenario(
    "the time of one candidate grows with the budget", selects("zen-mcp", 8000), selects("qdrant", 6333), budget=20.0
)
def _(world: World) -> None:
    world.serve(late(legacy_mcp("PAL"), 3.0), 8000)
    world.serve(late(qdrant(), 3.0), 6333)


@scenario("a tenth of a second is a budget too", ends_within(0.6), budget=0.1)
def _(world: World) -> None:
    for port in _OTHERS:
        world.serve(tarpit, port)
