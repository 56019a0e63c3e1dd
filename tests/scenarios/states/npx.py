"""Servers by npx: known by package, key and program; never started to find out."""

from __future__ import annotations

from ..emulators import legacy_mcp
from ..outcome import Outcome
from ..scenario import EXTERNAL, NPX, Table, lists_nothing, says, selects, selects_nothing, selects_package
from ..world import World

scenario = Table()

_CONTEXT7 = "servers:\n  context7:\n    priority_order:\n      1: npx_cloud\n"
_PERPLEXITY = "servers:\n  perplexity:\n    priority_order: [npx_cloud]\n"


def _program(world: World) -> None:
    """An npx on PATH that leaves a mark when somebody runs it."""
    mark = world.folder / "npx-was-run"
    world.write("bin/npx", f"#!/bin/sh\ntouch {mark}\n", mode=0o755)
    world.set(PATH=f"{world.folder}/bin")
    world.must_not_exist(mark)


@scenario(
    "a known package with npx at hand is chosen, and not run",
    selects_package("context7", "@upstash/context7-mcp"),
    stack="cloud",
)
def _(world: World) -> None:
    _program(world)
    world.write("root/.mcp/discovery-config.yaml", _CONTEXT7)


@scenario("without npx on PATH there is no npx", selects_nothing("context7"), says("npx"), stack="cloud")
def _(world: World) -> None:
    world.set(PATH=str(world.folder / "empty"))
    world.write("root/.mcp/discovery-config.yaml", _CONTEXT7)


@scenario("an npx that cannot be run is no npx", selects_nothing("context7"), stack="cloud")
def _(world: World) -> None:
    world.write("bin/npx", "#!/bin/sh\n", mode=0o644)
    world.set(PATH=str(world.folder / "bin"))
    world.write("root/.mcp/discovery-config.yaml", _CONTEXT7)


@scenario(
    "a package that needs a key is not chosen without it",
    selects_nothing("perplexity"),
    says("PERPLEXITY_API_KEY"),
    stack="cloud",
)
def _(world: World) -> None:
    _program(world)
    world.write("root/.mcp/discovery-config.yaml", _PERPLEXITY)


@scenario("a package that needs a key is chosen with it, and the key not shown", stack="cloud")
def _(world: World) -> None:
    _program(world)
    world.write("root/.mcp/discovery-config.yaml", _PERPLEXITY)
    world.set(PERPLEXITY_API_KEY=world.secret())

    def check(outcome: Outcome) -> None:
        selected = outcome.service("perplexity")["selected"]
        assert selected is not None
        assert selected["source"] == NPX
        assert selected["endpoint"].startswith("npx:")

    world.checks.append(check)


@scenario("a server that lives comes before its package", selects("context7", 7000), stack="cloud")
def _(world: World) -> None:
    _program(world)
    world.serve(legacy_mcp("Context7"), 7000)
    world.write("root/.mcp.json", {"mcpServers": {"context7": {"type": "http", "url": "http://127.0.0.1:7000/mcp"}}})
    world.write("root/.mcp/discovery-config.yaml", "servers:\n  context7: {}\n")


@scenario(
    "a server nobody knows has no package",
    selects_nothing("my-own"),
    lists_nothing("my-own", source=EXTERNAL),
    stack="cloud",
)
def _(world: World) -> None:
    _program(world)
    world.write("root/.mcp/discovery-config.yaml", "servers:\n  my-own:\n    priority_order: [npx_cloud]\n")
