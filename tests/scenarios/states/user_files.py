"""What Claude Code and its users keep in the home folder: read, never written, never run."""

from __future__ import annotations

import json
import os

from ..emulators import legacy_mcp, modern_mcp
from ..namespace import another_host
from ..scenario import (
    EXTERNAL,
    USER,
    Table,
    ends_within,
    lists,
    says,
    selects,
    selects_nothing,
    starts,
    stays_below,
)
from ..sdk_servers import SdkServer
from ..world import World

scenario = Table()


def _http(port: int, **other: object) -> dict[str, object]:
    return {"type": "http", "url": f"http://127.0.0.1:{port}/mcp", **other}


@scenario(
    "a server in ~/.claude.json is a user installation",
    selects("zen-mcp", 7000, USER, "5.8.2"),
    lists("zen-mcp", 7000, "verified", USER, evidence=r"\.claude\.json"),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp-server"), 7000)
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": _http(7000)}, "numStartups": 3})


@scenario("a server is known by the other names it goes by", selects("zen-mcp", 7000, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 7000)
    world.write("home/.claude.json", {"mcpServers": {"zen": _http(7000)}})


@scenario("a server that ~/.claude.json holds for this project counts", selects("zen-mcp", 7001, USER))
def _(world: World) -> None:
    world.serve(modern_mcp("zen-mcp"), 7001)
    world.must_not_be_asked(world.serve(modern_mcp("zen-mcp"), 7002))
    projects = {
        str(world.root): {"mcpServers": {"zen-mcp": _http(7001)}},
        "/somewhere/else": {"mcpServers": {"zen-mcp": _http(7002)}},
    }
    world.write("home/.claude.json", {"projects": projects})


@scenario("of one name, the project's entry in ~/.claude.json wins over the global one", selects("zen-mcp", 7001, USER))
def _(world: World) -> None:
    world.serve(modern_mcp("zen-mcp"), 7001)
    world.serve(modern_mcp("zen-mcp"), 7002)
    projects = {str(world.root): {"mcpServers": {"zen-mcp": _http(7001)}}}
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": _http(7002)}, "projects": projects})


@scenario("CLAUDE_CONFIG_DIR moves the file", selects("zen-mcp", 7001, USER))
def _(world: World) -> None:
    world.serve(modern_mcp("zen-mcp"), 7001)
    world.must_not_be_asked(world.serve(modern_mcp("zen-mcp"), 7002))
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": _http(7002)}})
    world.write("home/elsewhere/.claude.json", {"mcpServers": {"zen-mcp": _http(7001)}})
    world.set(CLAUDE_CONFIG_DIR=str(world.home / "elsewhere"))


@scenario("a single server in ~/.claude/mcp/NAME.json counts", selects("zen-mcp", 7000, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp", as_events=True), 7000)
    world.write("home/.claude/mcp/zen-mcp.json", _http(7000))


@scenario("a map of servers in ~/.claude/mcp/*.json counts", selects("zen-mcp", 7000, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    world.write("home/.claude/mcp/mine.json", {"mcpServers": {"zen-mcp": {"type": "streamable-http", **_url(7000)}}})


def _url(port: int) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}/mcp"}


@scenario("a server of the SSE era counts", selects("zen-mcp", 7000, USER))
def _(world: World) -> None:
    world.keep(SdkServer("zen-mcp", 7000, events=True))
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": {"type": "sse", "url": "http://127.0.0.1:7000/sse"}}})


@scenario("${VAR} and ${VAR:-default} expand as Claude Code does it", selects("zen-mcp", 7000, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    url = "http://${ZEN_HOST:-127.0.0.1}:${ZEN_PORT}/mcp"
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": {"type": "http", "url": url}}})
    world.set(ZEN_PORT="7000")


@scenario(
    "a variable that is not set is named, and the rest of the URL is not asked",
    says("ZEN_PORT"),
    selects_nothing("zen-mcp"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 80))
    url = "http://127.0.0.1${ZEN_PORT}/mcp"
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": {"type": "http", "url": url}}})


@scenario(
    "commands found in files are never run",
    selects_nothing("zen-mcp", "redis", "qdrant"),
)
def _(world: World) -> None:
    proof = world.folder / "was-run"
    evil = {"command": "sh", "args": ["-c", f"touch {proof}"]}
    helper = {"type": "http", "url": "http://127.0.0.1:1/mcp", "headersHelper": f"touch {proof}"}
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": evil, "zen": helper}, "apiKeyHelper": f"touch {proof}"})
    world.write("root/.mcp.json", {"mcpServers": {"zen-mcp": evil, "qdrant": evil}})
    world.write("root/.mcp/servers/zen-mcp.json", evil)
    world.write("home/.claude/mcp/redis.json", evil)
    script = world.write("home/dev/zen-mcp-server/server.py", f"open({str(proof)!r}, 'w')\n", mode=0o755)
    world.write("home/dev/zen-mcp-server/zen-mcp-server", script.read_bytes(), mode=0o755)
    world.must_not_exist(proof)


@scenario(
    "a broken ~/.claude.json is a warning, and costs nothing else",
    says(r"\.claude\.json"),
    selects("zen-mcp", 8000, EXTERNAL),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 8000)
    world.write("home/.claude.json", '{"mcpServers": {"zen-mcp": {"url": ')


@scenario("entries of ~/.claude.json with wrong types cost only themselves", selects("zen-mcp", 7000, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    servers: dict[str, object] = {
        "a": 1,
        "b": None,
        "c": [],
        "d": {"url": 5},
        "e": {"url": None, "command": {}},
        "": {},
        "zen-mcp": _http(7000),
    }
    projects = {str(world.root): 7, "x": []}
    world.write("home/.claude.json", {"mcpServers": servers, "projects": projects})


@scenario("~/.claude.json as a list is a warning", says(r"\.claude\.json"))
def _(world: World) -> None:
    world.write("home/.claude.json", [1, 2, 3])


@scenario(
    "a ~/.claude.json of one gigabyte is not read",
    says(r"\.claude\.json"),
    stays_below(200),
    ends_within(4.0),
)
def _(world: World) -> None:
    path = world.write("home/.claude.json", "{")
    os.truncate(path, 1 << 30)


@scenario("a FIFO in the place of ~/.claude.json blocks nobody", says(r"\.claude\.json"), ends_within(4.0))
def _(world: World) -> None:
    os.mkfifo(world.home / ".claude.json")


@scenario("a FIFO among the files of ~/.claude/mcp blocks nobody", selects("zen-mcp", 7000, USER), ends_within(4.0))
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    world.write("home/.claude/mcp/zen-mcp.json", _http(7000))
    os.mkfifo(world.home / ".claude/mcp/another.json")


@scenario(
    "/dev/zero in the place of ~/.claude.json is not read", says(r"\.claude\.json"), stays_below(200), ends_within(4.0)
)
def _(world: World) -> None:
    (world.home / ".claude.json").symlink_to("/dev/zero")


@scenario("JSON nested ten thousand deep is a warning", says(r"\.claude\.json"))
def _(world: World) -> None:
    world.write("home/.claude.json", "[" * 10_000 + "]" * 10_000)


@scenario("a folder that leads back to itself ends the walk", selects("zen-mcp", 7000, USER), ends_within(4.0))
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    world.write("home/.claude/mcp/zen-mcp.json", _http(7000))
    (world.home / ".claude/mcp/loop").symlink_to(world.home / ".claude/mcp")
    (world.home / ".claude/agents").symlink_to(world.home / ".claude")


@scenario("a file that is no UTF-8 is a warning", says(r"\.claude\.json"))
def _(world: World) -> None:
    world.write("home/.claude.json", b'{"mcpServers": {"zen-mcp": {"url": "http://127.0.0.1:7000/\xff\xfe"}}}')


@scenario("a stdio server is no endpoint", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": {"command": "uvx", "args": ["pal-mcp-server"]}}})


@scenario(
    "a server on another address than the loopback is asked too",
    selects("zen-mcp", 7000, USER, hosts=frozenset({"10.9.8.7"})),
)
def _(world: World) -> None:
    another_host("10.9.8.7")
    world.serve(legacy_mcp("zen-mcp"), 7000, "10.9.8.7")
    world.write("home/.claude.json", {"mcpServers": {"zen-mcp": {"type": "http", "url": "http://10.9.8.7:7000/mcp"}}})


@scenario("ten thousand servers are not looked at, and it is said", says("servers"), stays_below(150), ends_within(5.5))
def _(world: World) -> None:
    world.write("home/.claude.json", {"mcpServers": {f"server-{n}": _http(10_000 + n) for n in range(10_000)}})


@scenario(
    "a ~/.claude.json that belongs to another user is not believed", selects_nothing("zen-mcp"), says(r"\.claude\.json")
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
    os.chown(world.write("home/.claude.json", {"mcpServers": {"zen-mcp": _http(7000)}}), 12345, 12345)


@scenario(
    "names that are alike are two servers, and other scripts name one as well",
    selects("foo-bar", 7001, USER),
    selects("foo-bar-4928ca", 7002, USER),
    selects("server-4d9473", 7003, USER),
)
def _(world: World) -> None:
    for port in (7001, 7002, 7003):
        world.serve(legacy_mcp("whatever"), port)
    servers = {"foo_bar": _http(7002), "foo-bar": _http(7001), "天气": _http(7003)}
    world.write("home/.claude.json", {"mcpServers": servers})


@scenario(
    "a label of the user's is no identity, and the server's own name is told",
    selects("github", 7000, USER),
    lists("github", 7000, "verified", USER, reason="calls itself 'octocat'"),
    lists("zen-mcp", 7001, "impostor", USER, reason="calls itself 'octocat'"),
)
def _(world: World) -> None:
    for port in (7000, 7001):
        world.serve(legacy_mcp("octocat"), port)
    world.write("home/.claude.json", {"mcpServers": {"github": _http(7000), "zen": _http(7001)}})


def _large(world: World, projects: int, **more: object) -> None:
    """A ~/.claude.json with as many projects of 420 KiB each, and more keys behind them."""
    history = json.dumps([{"display": 'please "refactor" this \\ function ' * 10, "pastedContents": {}}] * 1000)
    entries = ",".join(f'"/srv/{number}": {{"history": {history}, "mcpServers": {{}}}}' for number in range(projects))
    own = json.dumps({str(world.root): {"history": json.loads(history), "mcpServers": {"docs": _http(7001)}}})
    text = f'{{"numStartups": 9, "projects": {{{entries},{own[1:-1]}}},{json.dumps(more)[1:]}'
    world.write("home/.claude.json", text)


@scenario(
    "a ~/.claude.json of seventy megabytes is read for its servers and this project's entry",
    selects("zen-mcp", 7000, USER),
    selects("docs", 7001, USER),
    stays_below(100),
    budget=30.0,
)
def _(world: World) -> None:
    world.serve(legacy_mcp("zen-mcp"), 7000)
    world.serve(legacy_mcp("docs"), 7001)
    _large(world, 170, mcpServers={"zen": _http(7000)})


@scenario(
    "a large ~/.claude.json that ends too early is a warning with its name",
    says(r"~/\.claude\.json is not JSON"),
    selects_nothing("zen-mcp"),
)
def _(world: World) -> None:
    _large(world, 12, mcpServers={"zen": _http(7000)})
    path = world.home / ".claude.json"
    os.truncate(path, path.stat().st_size - 3)


@scenario(
    "servers that are larger than four megabytes are not read, and the number is said",
    says(r"~/\.claude\.json says more of servers than 4 MiB"),
    selects_nothing("zen-mcp"),
)
def _(world: World) -> None:
    world.write("home/.claude.json", {"mcpServers": {"zen": {**_http(7000), "env": {"K": "x" * 5_000_000}}}})


_FORMS: dict[str, dict[str, object]] = {
    "gemini": {"httpUrl": "http://127.0.0.1:7000/mcp"},
    "windsurf": {"serverUrl": "http://127.0.0.1:7000/mcp"},
    "opencode": {"type": "remote", "url": "http://127.0.0.1:7000/mcp", "enabled": True},
    "upper": {"type": "HTTP", "url": "http://127.0.0.1:7000/mcp"},
    "stream": {"type": "http-stream", "url": "http://127.0.0.1:7000/mcp"},
    "cline": {"transportType": "streamableHttp", "url": "http://127.0.0.1:7000/mcp"},
    "cursor": {"url": "http://127.0.0.1:${env:DOCS_PORT}/mcp"},
}
_UNUSABLE: dict[str, tuple[dict[str, object], str]] = {
    "ws": ({"type": "ws", "url": "ws://127.0.0.1:7000/mcp"}, "speaks MCP over WebSocket"),
    "sdk": ({"type": "sdk", "name": "x"}, "lives inside of the program that names it"),
    "off": ({"url": "http://127.0.0.1:7000/mcp", "enabled": False}, "disabled in its file"),
    "asks": ({"url": "http://127.0.0.1:7000/${input:team}"}, "asks its tool for \\${input:team}"),
    "listed": ({"command": "npx", "args": ["a-mcp"], "env": {"K": ["x"]}}, "has a list as env.K"),
    "file": ({"command": "npx", "args": ["a-mcp"], "envFile": ".env"}, "takes variables from a file"),
    "wrong": ({"url": "http://127.0.0.1:7000/mcp", "headers": ["x"]}, "headers is a list, not a map"),
}


@scenario("entries in the forms of other tools are read", *(selects(name, 7000, USER) for name in _FORMS))
def _(world: World) -> None:
    world.set(DOCS_PORT="7000")
    world.serve(legacy_mcp("docs"), 7000)
    world.write("home/.claude.json", {"mcpServers": _FORMS})


@scenario("what can't be used of other forms says why", *(says(words) for _, words in _UNUSABLE.values()))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    world.write("home/.claude.json", {"mcpServers": {name: entry for name, (entry, _) in _UNUSABLE.items()}})


@scenario("a file of VS Code's under another name is a list of servers", selects("docs", 7000, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    world.write("home/.claude/mcp/mine.json", {"inputs": [], "servers": {"docs": _http(7000)}})


@scenario("a number or a truth value in env is a text", starts("docs", "a-mcp@1.0.0"))
def _(world: World) -> None:
    entry = {"command": "npx", "args": ["-y", "a-mcp@1.0.0"], "env": {"PORT": 3000, "DEBUG": True, "RATE": 0.5}}
    world.write("home/.claude.json", {"mcpServers": {"docs": entry}})
