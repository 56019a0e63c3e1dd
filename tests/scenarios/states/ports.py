"""Ports where such services are commonly found, by IPv4 and IPv6."""

from __future__ import annotations

from ..emulators import grafana, legacy_mcp, modern_mcp, qdrant
from ..scenario import EXTERNAL, Table, lists, selects, selects_nothing
from ..sdk_servers import SdkServer
from ..servers import HttpRequest, Reply, http, silence
from ..world import World

scenario = Table()


@scenario("a real Redis on 6379 is found", selects("redis", 6379, EXTERNAL))
def _(world: World) -> None:
    world.redis(6379)


@scenario(
    "a Qdrant on 6333 is found",
    selects("qdrant", 6333, EXTERNAL, "1.11.3"),
    lists("qdrant", 6333, "verified", evidence="6333"),
)
def _(world: World) -> None:
    world.serve(qdrant("1.11.3"), 6333)


@scenario("a Qdrant on ::1 alone is found", selects("qdrant", 6333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 6333, "::1")


@scenario("a real Prometheus on 9090 is found", selects("prometheus", 9090, EXTERNAL))
def _(world: World) -> None:
    world.prometheus(9090)


@scenario("a Grafana on 3000 is found", selects("grafana", 3000, EXTERNAL))
def _(world: World) -> None:
    world.serve(grafana(), 3000)


@scenario(
    "a stranger's MCP server on 8000 is an impostor, and Zen MCP is found on 8001",
    selects("zen-mcp", 8001, EXTERNAL),
    lists("zen-mcp", 8000, "impostor", reason="weather"),
)
def _(world: World) -> None:
    world.keep(SdkServer("weather", 8000))
    world.keep(SdkServer("zen-mcp-server", 8001))


@scenario("Zen MCP is found on 8002 behind a silent and a dead port", selects("zen-mcp", 8002, EXTERNAL))
def _(world: World) -> None:
    world.serve(silence, 8000)
    world.serve(modern_mcp("PAL"), 8002)


@scenario(
    "of two that prove themselves, the lower port is chosen",
    selects("zen-mcp", 8000, EXTERNAL),
    lists("zen-mcp", 8001, "verified"),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("zen"), 8000)
    world.serve(modern_mcp("zen"), 8001)


@scenario("a modern server that calls for another header is asked again", selects("zen-mcp", 8000, EXTERNAL, "9.8.2"))
def _(world: World) -> None:
    world.serve(modern_mcp("zen-mcp"), 8000)


@scenario("a session that was opened to ask is closed again", selects("zen-mcp", 8000, EXTERNAL))
def _(world: World) -> None:
    server = world.serve(legacy_mcp("zen-mcp"), 8000)

    def check(_: object) -> None:
        assert b"DELETE /mcp" in server.received
        assert b"s-1" in server.received

    world.checks.append(check)


@scenario("a session that a refused message opened is closed again, too", selects("zen-mcp", 8000, EXTERNAL))
def _(world: World) -> None:
    opened: list[str] = []
    closed: list[str] = []

    def route(request: HttpRequest) -> Reply:
        if request.method == "DELETE":
            closed.append(request.headers["mcp-session-id"])
            return Reply()
        if request.method != "POST":
            return Reply("Method Not Allowed", 405)
        # Whatever comes first opens a session, understood or not.
        opened.append(f"s-{len(opened)}")
        session = {"Mcp-Session-Id": opened[-1]}
        if request.rpc.get("method") != "initialize":
            return Reply("Bad Request: Missing session ID", 400, session)
        info = {"name": "PAL", "version": "9.8.2"}
        result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": info}
        return Reply({"jsonrpc": "2.0", "id": request.rpc["id"], "result": result}, 200, session)

    world.serve(http(route), 8000)

    def check(_: object) -> None:
        assert len(opened) >= 2, opened
        assert sorted(closed) == sorted(opened), (opened, closed)

    world.checks.append(check)


@scenario(
    "a service on the loopback is marked as within reach of the host alone",
    selects("qdrant", 6333, reach__vantage="host_loopback"),
)
def _(world: World) -> None:
    world.serve(qdrant(), 6333, "127.0.0.1")


@scenario("a Qdrant that is not ready is unhealthy", lists("qdrant", 6333, "unhealthy"), selects_nothing("qdrant"))
def _(world: World) -> None:
    world.serve(qdrant(ready=False), 6333)


@scenario(
    "a Grafana without its database is unhealthy", lists("grafana", 3000, "unhealthy"), selects_nothing("grafana")
)
def _(world: World) -> None:
    world.serve(grafana(database="failing"), 3000)


@scenario("a port that nobody listens on is unreachable at most", selects_nothing("zen-mcp", "qdrant", "redis"))
def _(world: World) -> None:
    world.set(ZEN_MCP_URL="http://127.0.0.1:8000", QDRANT_HOST="127.0.0.1", REDIS_URL="redis://127.0.0.1")


@scenario("portOffset does not hide what others run on the usual ports", selects("qdrant", 6333))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.configure("portOffset", 1000)
