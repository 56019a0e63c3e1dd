"""A 200 is not proof: each service must show what only it shows."""

from __future__ import annotations

from ..emulators import legacy_mcp, modern_mcp, prometheus_not_ready, qdrant, victoria_metrics
from ..impostors import echo, greeter, hang_up, json_body, redirector, reset, says, title_only_qdrant, yes_man
from ..scenario import Table, lists, selects_nothing
from ..servers import Reply, Talk, http
from ..world import World

scenario = Table()

_KNOWN = {"redis": 6379, "qdrant": 6333, "zen-mcp": 8000, "prometheus": 9090, "grafana": 3000}
_ALL = tuple(_KNOWN)


def _everywhere(what: str, talk: Talk, *verdicts: str) -> None:
    """The same stranger on every port where a service is commonly found."""

    def start(world: World) -> None:
        for port in _KNOWN.values():
            world.serve(talk, port)

    expected = verdicts or ("impostor",)
    listed = [lists(service, port, expected) for service, port in _KNOWN.items()]
    scenario(f"{what} on every port is no service at all", selects_nothing(*_ALL), *listed)(start)


_everywhere("a server that says 200 ok to everything", yes_man("ok"))
_everywhere("a server that says {} to everything", yes_man({}))
_everywhere("a server that says null to everything", json_body(b"null"))
_everywhere("a web page", yes_man("<!doctype html><title>Qdrant Grafana Prometheus zen-mcp</title>"))
_everywhere("an echo", echo)
_everywhere("an SSH server", greeter(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"))
_everywhere("a server that answers every line with +PONG", says(b"+PONG\r\n"))
_everywhere("a server that closes without a word", hang_up, "impostor", "unreachable")
_everywhere("a server that resets the connection", reset, "impostor", "unreachable")
_everywhere("a server that answers 401 to everything", http(lambda _: Reply("no", 401)), "impostor", "auth_required")
_everywhere("a server that answers 500 to everything", http(lambda _: Reply("oops", 500)), "impostor", "unhealthy")


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


for status in (301, 302, 303, 307, 308):

    def _redirect(world: World, status: int = status) -> None:
        world.must_not_be_asked(world.serve(qdrant(), 7444))
        world.serve(redirector("http://127.0.0.1:7444", status), 6333)

    scenario(
        f"a redirect with {status} is no Qdrant, and is not followed",
        selects_nothing("qdrant"),
        lists("qdrant", 6333, "impostor"),
    )(_redirect)
