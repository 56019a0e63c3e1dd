"""Production takes what its operator wrote down; what merely runs nearby is offered, with the pin that takes it."""

from __future__ import annotations

from ..emulators import legacy_mcp, qdrant
from ..scenario import EXTERNAL, PROJECT, USER, Table, fails, lists, says, selects, selects_nothing
from ..world import World

scenario = Table()

_OFFER = r"nobody named it, and production takes only what is named; to take it, pin\.{}: http://127\.0\.0\.1:{}"


def _zen(port: int) -> str:
    return _OFFER.format("zen-mcp", port)


@scenario(
    "a port that nobody named is offered to production, and not taken",
    lists("zen-mcp", 8001, "skipped", EXTERNAL, reason=_zen(8001), named_by="nobody", offered=True),
    selects_nothing("zen-mcp", "qdrant"),
    stack="production",
)
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 8001)
    world.serve(qdrant(), 6333)


@scenario("the same port is taken elsewhere", selects("zen-mcp", 8001, EXTERNAL), stack="dev")
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 8001)


@scenario(
    "a process that nobody named is offered to production, and not taken",
    lists("redis", 7379, "skipped", EXTERNAL, evidence="process redis-server", offered=True),
    selects_nothing("redis"),
    stack="production",
)
def _(world: World) -> None:
    world.redis(7379)


@scenario(
    "a lock file names nothing to production",
    lists("zen-mcp", 7000, "skipped", EXTERNAL, reason=_zen(7000), evidence="lock file"),
    selects_nothing("zen-mcp"),
    stack="production",
)
def _(world: World) -> None:
    world.lock("zen-mcp", 7000, world.emulator("mcp", "zen-mcp", 7000))


@scenario(
    "a project's server is not even asked by production before it is approved",
    lists("zen-mcp", 7000, "skipped", PROJECT, reason="python -m discovery approve zen-mcp"),
    selects_nothing("zen-mcp"),
    stack="production",
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
    world.write("root/.mcp.json", {"mcpServers": {"zen": {"type": "http", "url": "http://127.0.0.1:7000/mcp"}}})


@scenario("an approved server of a project's is production's", selects("zen-mcp", 7000, PROJECT), stack="production")
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    world.write("root/.mcp.json", {"mcpServers": {"zen": {"type": "http", "url": "http://127.0.0.1:7000/mcp"}}})
    world.approve("zen")


@scenario("what the environment names is production's", selects("zen-mcp", 8001, EXTERNAL), stack="production")
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 8001)
    world.set(ZEN_MCP_URL="http://127.0.0.1:8001/mcp")


@scenario("what .env names is production's", selects("qdrant", 6333, EXTERNAL), stack="production")
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.write("root/.env", "QDRANT_HOST=127.0.0.1\n")


@scenario("what the user's own files name is production's", selects("zen-mcp", 7000, USER), stack="production")
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    entry = {"type": "http", "url": "http://127.0.0.1:7000/mcp"}
    world.write("home/.claude.json", {"mcpServers": {"zen": entry}})


@scenario("what a pin names is production's", selects("zen-mcp", 8001, EXTERNAL), stack="production")
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 8001)
    world.configure("environment", "production", stack="production")
    world.configure("pin", {"zen-mcp": "http://127.0.0.1:8001"}, stack="production")


@scenario("a pin to a source names no port", fails(r"pin\.zen-mcp: .*nobody named it"), stack="production")
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 8001)
    world.configure("environment", "production", stack="production")
    world.configure("pin", {"zen-mcp": "external_deployment"}, stack="production")


@scenario(
    "an address that was named for one service is not another's",
    lists("docs", 7000, "skipped", reason=_OFFER.format("docs", 7000), named_by="nobody"),
    selects_nothing("docs", "zen-mcp"),
    says("another MCP server"),
    stack="production",
)
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    world.set(ZEN_MCP_URL="http://127.0.0.1:7000/mcp")
    world.configure("environment", "production", stack="production")
    world.configure("mcpServers", ["docs"], stack="production")


@scenario("any stack is held to it whose environment is production", selects_nothing("zen-mcp"), stack="hybrid")
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 8001)
    world.set(ENVIRONMENT="production")
