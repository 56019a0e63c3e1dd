"""What a project brings along: `.mcp.json`, `.mcp/servers` and `.mcp/discovery-config.yaml`."""

from __future__ import annotations

import re

from ..emulators import legacy_mcp, modern_mcp, qdrant
from ..outcome import Outcome
from ..scenario import PROJECT, Table, fails, lists, says, selects, selects_nothing
from ..world import World

scenario = Table()


@scenario(
    "a server in .mcp.json is project configuration",
    selects("zen-mcp", 7000, PROJECT),
    lists("zen-mcp", 7000, "verified", PROJECT, evidence=r"\.mcp\.json"),
)
def _(world: World) -> None:
    world.serve(modern_mcp("zen-mcp", in_meta=False), 7000)
    world.write("root/.mcp.json", {"mcpServers": {"zen-mcp": {"type": "http", "url": "http://127.0.0.1:7000/mcp"}}})


@scenario("a server in .mcp/servers/NAME.json is project configuration", selects("zen-mcp", 7000, PROJECT))
def _(world: World) -> None:
    world.serve(modern_mcp("zen-mcp"), 7000)
    world.write("root/.mcp/servers/zen-mcp.json", {"type": "http", "url": "http://127.0.0.1:7000/mcp"})


@scenario(
    "each server of the discovery configuration is reported under its own name",
    selects("docs-search", 7001, PROJECT),
    selects_nothing("weather"),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("docs-search"), 7001)
    world.write("root/.mcp.json", {"mcpServers": {"docs-search": {"type": "http", "url": "http://127.0.0.1:7001/mcp"}}})
    world.write("root/.mcp/discovery-config.yaml", "servers:\n  docs-search: {}\n  weather: {}\n")


@scenario(
    "a server with identities that answers under another name is an impostor",
    lists("docs-search", 7001, "impostor", reason="weather"),
    selects_nothing("docs-search"),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("weather"), 7001)
    world.write("root/.mcp.json", {"mcpServers": {"docs-search": {"type": "http", "url": "http://127.0.0.1:7001/mcp"}}})
    world.write("root/.mcp/discovery-config.yaml", "servers:\n  docs-search: {identities: [docs-search]}\n")


@scenario("a server whose name tries to leave its folder is only a name", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    names = ["../../etc/cron.d/x", "a/b", "\0", "x" * 300, "CON", ".", "zen\n[OK] ours\x1b[2J", "<script>"]
    entries = {name: {"type": "http", "url": "http://127.0.0.1:7000/mcp"} for name in names}
    world.write("root/.mcp.json", {"mcpServers": entries})


@scenario("a URL with a password in .mcp.json is refused without showing it", selects_nothing("zen-mcp"), says("mcp"))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
    url = f"http://user:{world.secret()}@127.0.0.1:7000/mcp"
    world.write("root/.mcp.json", {"mcpServers": {"zen-mcp": {"type": "http", "url": url}}})


@scenario("a secret in a URL's query is not shown")
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp", path=f"/mcp?api_key={world.secret()}"), 7000)
    url = f"http://127.0.0.1:7000/mcp?api_key={world.secrets[0]}"
    world.write("root/.mcp.json", {"mcpServers": {"zen-mcp": {"type": "http", "url": url}}})


@scenario("ports in the discovery configuration are not what a Qdrant is asked on by default", selects("qdrant", 6333))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.write(
        "root/.mcp/discovery-config.yaml",
        "servers:\n  qdrant:\n    resource_requirements: {memory_mb: 512, cpu_cores: 0.5}\n",
    )


@scenario("a broken .mcp.json costs only itself, or is an error with its line")
def _(world: World) -> None:
    world.write("root/.mcp.json", '{"mcpServers": {')

    def check(outcome: Outcome) -> None:
        assert re.search(r"\.mcp\.json", outcome.stderr if outcome.exit_code else "\n".join(outcome.report["warnings"]))

    world.checks.append(check)


@scenario("an unusual stack name is an error before it is a path")
def _(world: World) -> None:
    world.arguments += ["--stack", "../../etc/passwd"]
    world.checks.append(fails(r"stack: "))
