"""What Claude Code's settings say of MCP servers: turned off is never used, and only the user's own files approve."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..emulators import legacy_mcp
from ..namespace import another_host
from ..scenario import (
    PROJECT,
    USER,
    Table,
    says,
    selects,
    selects_nothing,
    starts,
    starts_nothing,
)
from ..world import World

scenario = Table()

_ELSEWHERE = "10.9.8.7"
_FAR = frozenset({_ELSEWHERE})
_PACKAGE = "@acme/notes-mcp@1.2.3"


def _http(port: int, host: str = "127.0.0.1") -> Mapping[str, object]:
    return {"type": "http", "url": f"http://{host}:{port}/mcp"}


def _project(world: World, **servers: Mapping[str, object]) -> None:
    world.write("root/.mcp.json", {"mcpServers": servers})


def _of_this_project(world: World, **settings: object) -> None:
    world.write("home/.claude.json", {"projects": {str(world.root): settings}})


def _managed(world: World, **files: object) -> None:
    """Files of the machine's administrator, in an /etc of the run's own."""
    folder = world.folder / "etc"
    folder.mkdir()
    for name in ("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache"):
        shutil.copy(Path("/etc") / name, folder / name)
    for name, content in files.items():
        world.write(f"etc/claude-code/{name.replace('__', '-')}.json", content, mode=0o644)  # type: ignore[arg-type]
    world.mount(folder, "/etc")


@scenario(
    "a project's server that the user rejected is not asked, whatever else approves it",
    says(r"rejected in Claude Code: disabledMcpjsonServers of ~/\.claude/settings\.json"),
    selects_nothing("docs", "notes"),
    starts_nothing("notes"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    _project(world, docs=_http(7000), notes={"command": "npx", "args": ["-y", _PACKAGE]})
    for name in ("docs", "notes"):
        world.approve(name)
    world.configure("mcpServers", ["docs", "notes"])
    world.write("home/.claude/settings.json", {"disabledMcpjsonServers": ["docs", "notes"]})


def _rejects(world: World, place: str) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    _project(world, docs=_http(7000))
    if place:
        world.write(place, {"disabledMcpjsonServers": ["docs"], "enableAllProjectMcpServers": True})
    else:
        _of_this_project(world, disabledMcpjsonServers=["docs"], enabledMcpjsonServers=["docs"])


for _place in ("root/.claude/settings.json", "root/.claude/settings.local.json", ""):

    @scenario(
        f"a server is rejected in {_place or 'the entry of the project'}", says("rejected"), selects_nothing("docs")
    )
    def _(world: World, place: str = _place) -> None:
        _rejects(world, place)


@scenario(
    "a server that is switched off for this project is not asked, the user's own neither",
    says("switched off in Claude Code: disabledMcpServers of ~/.claude.json"),
    selects_nothing("weather"),
    selects("docs", 7001, USER),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("weather"), 7000))
    world.serve(legacy_mcp("docs"), 7001)
    projects = {
        str(world.root): {"disabledMcpServers": ["weather"]},
        "/somewhere/else": {"disabledMcpServers": ["docs"]},
    }
    world.write(
        "home/.claude.json", {"mcpServers": {"weather": _http(7000), "docs": _http(7001)}, "projects": projects}
    )


@scenario(
    "what is turned off under its name is not found under it at another place",
    selects_nothing("weather"),
    says("switched off"),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("weather"), 8000)
    world.write(
        "home/.claude.json",
        {
            "mcpServers": {"weather": _http(7000)},
            "projects": {str(world.root): {"disabledMcpServers": ["weather"]}},
        },
    )


@scenario("the user's settings approve a project's server by its name", selects("docs", 7000, PROJECT, hosts=_FAR))
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.serve(legacy_mcp("docs"), 7000, _ELSEWHERE)
    _project(world, docs=_http(7000, _ELSEWHERE))
    world.write("home/.claude/settings.json", {"enabledMcpjsonServers": ["docs"]})


@scenario("the entry of the project in ~/.claude.json approves its package", starts("notes", _PACKAGE))
def _(world: World) -> None:
    _project(world, notes={"command": "npx", "args": ["-y", _PACKAGE]})
    _of_this_project(world, enabledMcpjsonServers=["notes"])


@scenario(
    "approved by settings alone, a server is given no variable of this machine",
    starts_nothing("docs"),
    says("needs DOCS_TOKEN, which nobody names for it"),
    starts("notes", _PACKAGE, "DOCS_TOKEN"),
)
def _(world: World) -> None:
    world.set(DOCS_TOKEN=world.secret())
    needs = {"command": "npx", "args": ["-y", "evil-mcp@6.6.6"], "env": {"T": "${DOCS_TOKEN}"}}
    offers = {"command": "npx", "args": ["-y", _PACKAGE], "env": {"T": "${DOCS_TOKEN:-none}"}}
    _project(world, docs=needs, notes=offers)
    world.write("home/.claude/settings.json", {"enableAllProjectMcpServers": True})


_APPROVES = {"enableAllProjectMcpServers": True, "enabledMcpjsonServers": ["docs"]}


@scenario(
    "a repository's settings approve nothing of the repository",
    says("docs waits for approval"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000, _ELSEWHERE))
    _project(world, docs=_http(7000, _ELSEWHERE))
    world.write("root/.claude/settings.json", _APPROVES)
    world.write("root/.claude/settings.local.json", _APPROVES)


@scenario(
    "settings that lead into the repository approve nothing of it",
    says("docs waits for approval"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000, _ELSEWHERE))
    _project(world, docs=_http(7000, _ELSEWHERE))
    world.write("root/mine/settings.json", _APPROVES)
    (world.home / ".claude").symlink_to(world.root / "mine")


@scenario(
    "settings approve what stands in .mcp.json, and nothing else of the project",
    says("docs waits for approval"),
    says("notes waits for approval"),
    selects_nothing("docs", "notes"),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000, _ELSEWHERE))
    world.write("root/.mcp/servers/notes.json", _http(7000, _ELSEWHERE))
    _project(world, Docs=_http(7000, _ELSEWHERE))
    world.write("home/.claude/settings.json", {"enabledMcpjsonServers": ["docs", "notes"]})


def _servers_of(world: World, *names: str, **more: Mapping[str, object]) -> None:
    world.write("home/.claude.json", {"mcpServers": {name: _http(7000) for name in names} | more})


@scenario(
    "what is denied by name, address or command is neither asked nor started",
    says("denied in Claude Code: deniedMcpServers of /etc/claude-code/managed-settings.json"),
    says("denied in Claude Code: deniedMcpServers of ~/.claude/settings.json"),
    selects_nothing("weather", "maps", "notes"),
    starts_nothing("notes"),
    selects("docs", 7001, USER),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("weather"), 7000))
    world.serve(legacy_mcp("docs"), 7001)
    notes = {"command": "npx", "args": ["-y", _PACKAGE]}
    _servers_of(world, "weather", docs=_http(7001), maps={"url": "http://LocalHost:7000/maps"}, notes=notes)
    denied = [{"serverName": "weather"}, {"serverCommand": ["npx", "-y", _PACKAGE]}]
    _managed(world, managed__settings={"deniedMcpServers": denied})
    world.write("home/.claude/settings.json", {"deniedMcpServers": [{"serverUrl": "*://localhost:*/*"}]})


def _allows(world: World, *rules: Mapping[str, object], **more: object) -> None:
    _managed(world, managed__settings={"allowedMcpServers": list(rules), **more})


@scenario(
    "where addresses are allowed, a name is no way around them",
    says("not allowed in Claude Code: it is not in allowedMcpServers of /etc/claude-code/managed-settings.json"),
    selects_nothing("docs"),
    selects("weather", 7001, USER),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    world.serve(legacy_mcp("weather"), 7001)
    _servers_of(world, "docs", weather=_http(7001))
    _allows(world, {"serverName": "docs"}, {"serverUrl": "http://127.0.0.1:7001"})
    world.write("root/.claude/settings.json", {"allowedMcpServers": [{"serverUrl": "*"}]})


@scenario("an empty list allows nothing", says("not allowed in Claude Code"), selects_nothing("docs"))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    _servers_of(world, "docs")
    _allows(world)


@scenario(
    "the user's list adds to the machine's, unless only that counts",
    selects_nothing("docs"),
    says("not allowed"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    _servers_of(world, "docs")
    _allows(world, allowManagedMcpServersOnly=True)
    world.write("home/.claude/settings.json", {"allowedMcpServers": [{"serverName": "docs"}]})


@scenario("the user's list adds to the machine's", selects("docs", 7000, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    _servers_of(world, "docs")
    _allows(world, {"serverName": "weather"})
    world.write("home/.claude/settings.json", {"allowedMcpServers": [{"serverName": "docs"}]})


def _exclusive(world: World, content: object) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    world.serve(legacy_mcp("company"), 7001)
    _servers_of(world, "docs")
    _project(world, notes=_http(7000))
    _managed(world, managed__mcp=content)
    world.configure("mcpServers", ["context7", "notes"])


@scenario(
    "managed servers exclude all others",
    says("/etc/claude-code/managed-mcp.json excludes every server but its own"),
    selects("company", 7001, USER),
    selects_nothing("docs", "notes"),
    starts_nothing("context7"),
)
def _(world: World) -> None:
    _exclusive(world, {"mcpServers": {"company": _http(7001)}})


@scenario(
    "managed servers that can't be read exclude all others too",
    says("excludes every server but its own"),
    says(r"managed-mcp\.json is not JSON"),
    selects_nothing("docs", "notes"),
)
def _(world: World) -> None:
    _exclusive(world, "{")


@scenario(
    "managed settings that can't be read deny everything",
    says("managed-settings.json can't be read, so what it denies is unknown"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    _servers_of(world, "docs")
    _managed(world, managed__settings="{")


@scenario(
    "broken settings are a warning, and approve nothing",
    says(r"~/\.claude/settings\.json is not JSON"),
    says(r"\.claude/settings\.local\.json: disabledMcpjsonServers is no list of names"),
    says("docs waits for approval"),
    selects("weather", 7001, USER),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000, _ELSEWHERE))
    world.serve(legacy_mcp("weather"), 7001)
    _servers_of(world, weather=_http(7001))
    _project(world, docs=_http(7000, _ELSEWHERE))
    world.write("home/.claude/settings.json", '{"enableAllProjectMcpServers": true')
    world.write("root/.claude/settings.local.json", {"disabledMcpjsonServers": {"docs": True}})


@scenario(
    "a list of fifty thousand rules costs no time, and its length is said",
    says(r"deniedMcpServers has 50000 entries; only the first 1000 count"),
    selects("docs", 7000, USER),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    _servers_of(world, "docs")
    rules: Sequence[object] = [{"serverUrl": "*a" * 10 + str(number)} for number in range(50_000)]
    world.write("root/.claude/settings.json", {"deniedMcpServers": rules})
