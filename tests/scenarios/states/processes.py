"""Processes that listen on ports nobody would guess."""

from __future__ import annotations

import sys

from ..scenario import EXTERNAL, Table, lists, lists_nothing, selects, selects_nothing
from ..world import World

scenario = Table()


@scenario(
    "a real Redis on a port of its own is found by its process",
    selects("redis", 17379, EXTERNAL),
    lists("redis", 17379, "verified", evidence="process"),
)
def _(world: World) -> None:
    world.redis(17379)


@scenario("a real Prometheus on a port of its own is found by its process", selects("prometheus", 17090, EXTERNAL))
def _(world: World) -> None:
    world.prometheus(17090)


@scenario("a real nginx is found by its process", selects("nginx", 17080, EXTERNAL))
def _(world: World) -> None:
    world.nginx(17080)


@scenario("an MCP server run from its checkout is found by its process", selects("zen-mcp", 17000))
def _(world: World) -> None:
    script = world.write("home/dev/zen-mcp-server/server.py", "from scenarios.emulators import main\nmain()\n")
    world.process(sys.executable, script, "mcp", "zen", "--port", "17000", port=17000)


@scenario("a process that only carries the name is no service", selects_nothing("qdrant"))
def _(world: World) -> None:
    script = world.write("home/qdrant", "from scenarios.emulators import main\nmain()\n")
    world.process(sys.executable, script, "grafana", "1", "--port", "17333", port=17333)


@scenario(
    "a Redis replica is found, and not taken for a primary",
    lists("redis", 17379, ("unhealthy", "skipped", "impostor")),
    selects_nothing("redis"),
)
def _(world: World) -> None:
    world.redis(17379, "--replicaof", "127.0.0.1", "17380")


@scenario("an editor that merely talks of Redis is not asked", lists_nothing("redis", 17500))
def _(world: World) -> None:
    world.process(sys.executable, "-m", "scenarios.emulators", "grafana", "redis-server", "--port", "17500", port=17500)
