"""A 200 is not proof: each service must show what only it shows."""

from __future__ import annotations

from ..emulators import legacy_mcp, modern_mcp, prometheus_not_ready, qdrant, victoria_metrics
from ..impostors import echo, greeter, hang_up, json_body, redirector, reset, says, title_only_qdrant, yes_man
from ..scenario import Table, lists, selects_nothing
from ..servers import NOT_FOUND, Reply, Talk, http
from ..world import World
from .crowds import crowd

scenario = Table()

_KNOWN = {"redis": 6379, "qdrant": 6333, "zen-mcp": 8000, "prometheus": 9090, "grafana": 3000}
crowd(
    scenario,
    "no service at all",
    {
        "200 ok to everything": yes_man("ok"),
        "{} to everything": yes_man({}),
        "null to everything": json_body(b"null"),
        "a web page": yes_man("<!doctype html><title>Qdrant Grafana Prometheus zen-mcp</title>"),
        "an echo": echo,
        "an SSH server": greeter(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        "404 to everything": http(lambda _: NOT_FOUND),
    },
    ("impostor",),
)
crowd(
    scenario,
    "no service that could be used",
    {
        "a server that closes without a word": hang_up,
        "+PONG to everything": says(b"+PONG\r\n"),
        "a server that resets the connection": reset,
        "403 to everything": http(lambda _: Reply("no", 403)),
        "401 to everything": http(lambda _: Reply("no", 401)),
        "500 to everything": http(lambda _: Reply("oops", 500)),
    },
    ("impostor", "unreachable", "auth_required", "unhealthy"),
)


def _impostor(what: str, service: str, talk: Talk, *verdicts: str) -> None:
    def start(world: World) -> None:
        world.serve(talk, _KNOWN[service])

    port = _KNOWN[service]
    scenario(what, selects_nothing(service), lists(service, port, verdicts or ("impostor",)))(start)


_impostor("Qdrant's title alone is not Qdrant", "qdrant", title_only_qdrant())
_impostor("VictoriaMetrics is not Prometheus", "prometheus", victoria_metrics())
_impostor("a Prometheus that is not ready is unhealthy", "prometheus", prometheus_not_ready(), "unhealthy")
_impostor("another MCP server is not Zen MCP", "zen-mcp", modern_mcp("weather"))
_impostor("an MCP server whose name only contains the right one is not it", "zen-mcp", legacy_mcp("not-zen-mcp"))
_impostor("an MCP server whose name only begins with the right one is not it", "zen-mcp", legacy_mcp("zen-mcp-evil"))
_impostor("Grafana's health without a version is not Grafana", "grafana", yes_man({"database": "ok"}))
_impostor(
    "a Redis that wants a password of everybody but is none",
    "redis",
    says(b"-NOAUTH x\r\n"),
    "impostor",
    "auth_required",
)
_impostor(
    "a Redis that is still loading is unhealthy",
    "redis",
    says(b"-LOADING Redis is loading the dataset in memory\r\n"),
    "unhealthy",
    "impostor",
)
_impostor(
    "a protected Redis is not taken",
    "redis",
    says(b"-DENIED Redis is running in protected mode\r\n"),
    "auth_required",
    "unhealthy",
    "impostor",
)
_impostor(
    "an MCP server that asks for a token is auth_required",
    "zen-mcp",
    legacy_mcp("zen-mcp", token="never-told"),
    "auth_required",
)


@scenario(
    "a Redis where Qdrant is expected is an impostor", lists("qdrant", 6333, "impostor"), selects_nothing("qdrant")
)
def _(world: World) -> None:
    world.redis(6333)


@scenario("a Qdrant where Redis is expected is an impostor", lists("redis", 6379, "impostor"), selects_nothing("redis"))
def _(world: World) -> None:
    world.serve(qdrant(), 6379)


@scenario(
    "a redirect is no service, and is not followed",
    selects_nothing("qdrant", "zen-mcp", "prometheus", "grafana"),
    *(lists(service, _KNOWN[service], "impostor") for service in ("qdrant", "zen-mcp", "prometheus", "grafana")),
)
def _(world: World) -> None:
    for status, service in ((301, "zen-mcp"), (302, "qdrant"), (307, "prometheus"), (308, "grafana")):
        world.must_not_be_asked(world.serve(yes_man(), 7000 + status))
        world.serve(redirector(f"http://127.0.0.1:{7000 + status}", status), _KNOWN[service])


@scenario("an event stream that wants its messages elsewhere is no MCP server", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7444))
    stream = Reply("event: endpoint\ndata: http://127.0.0.1:7444/mcp\n\n", 200, {"Content-Type": "text/event-stream"})
    world.serve(http(lambda request: stream if request.method == "GET" else NOT_FOUND), 8000)
