"""The user's files of other tools: candidates like their own of Claude Code, each after its own form."""

from __future__ import annotations

from collections.abc import Mapping

from ..emulators import legacy_mcp
from ..outcome import Outcome
from ..scenario import USER, Table, lists, says, selects, selects_nothing, starts
from ..world import World

scenario = Table()

_EXTENSIONS = "home/.config/Code/User/globalStorage"
_COMMENTED = """// my servers, see https://example.com/*.md
{
  "inputs": [{"id": "team", "type": "promptString"}], /* asked for */
  "servers": {
    "vscode": {"type": "http", "url": "http://127.0.0.1:7000/mcp",}, // "last"
    "asking": {"type": "http", "url": "http://127.0.0.1:7000/${input:team}"},
  },
}
"""
_TOML = """
[mcp_servers.codex]
url = "http://127.0.0.1:7000/mcp"
bearer_token_env_var = "CODEX_TOKEN"

[mcp_servers.codex-package]
command = "npx"
args = ["-y", "a-mcp@1.0.0"]
"""


def _http(**other: object) -> Mapping[str, object]:
    return {"url": "http://127.0.0.1:7000/mcp", **other}


_FILES: dict[str, object] = {
    "home/.config/Claude/claude_desktop_config.json": {"mcpServers": {"desktop": _http()}},
    "home/.cursor/mcp.json": {"mcpServers": {"cursor": _http()}},
    "home/.config/Code/User/mcp.json": _COMMENTED,
    f"{_EXTENSIONS}/saoudrizwan.claude-dev/settings/cline_mcp_settings.json": {"mcpServers": {"cline": _http()}},
    "home/.codeium/windsurf/mcp_config.json": {"mcpServers": {"windsurf": {"serverUrl": "http://127.0.0.1:7000/mcp"}}},
    "home/.gemini/settings.json": {"theme": "x", "mcpServers": {"gemini": {"httpUrl": "http://127.0.0.1:7000/mcp"}}},
    "home/.codex/config.toml": _TOML,
    "home/.config/opencode/opencode.json": {"mcp": {"opencode": _http(type="remote")}},
    "home/.config/zed/settings.json": {"context_servers": {"zed": _http(source="custom")}},
}
_NAMES = ("desktop", "cursor", "vscode", "cline", "windsurf", "gemini", "codex", "opencode", "zed")


def _all(world: World) -> None:
    for name, content in _FILES.items():
        world.write(name, content)  # type: ignore[arg-type]


@scenario(
    "servers in files of other tools are user installations",
    *(selects(name, 7000, USER) for name in _NAMES),
    starts("codex-package", "a-mcp@1.0.0"),
    lists("vscode", 7000, "verified", USER, evidence=r"~/\.config/Code/User/mcp\.json: servers\.vscode"),
    says(r"asks its tool for \$\{input:team\}"),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("anything"), 7000)
    world.set(CODEX_TOKEN=world.secret())
    _all(world)

    def check(outcome: Outcome) -> None:
        services = outcome.report["services"]
        assert "servers" not in services and "inputs" not in services, sorted(services)

    world.checks.append(check)


@scenario("otherTools turns files of other tools off", selects("mine", 7001, USER))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("anything"), 7000))
    world.serve(legacy_mcp("anything"), 7001)
    _all(world)
    world.write("home/.claude.json", {"mcpServers": {"mine": {"type": "http", "url": "http://127.0.0.1:7001/mcp"}}})
    world.configure("otherTools", False)

    def check(outcome: Outcome) -> None:
        services = outcome.report["services"]
        assert not set(_NAMES) & set(services), sorted(services)

    world.checks.append(check)


@scenario("of one name, Claude Code's own file comes before another tool's", selects("docs", 7001, USER))
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    world.serve(legacy_mcp("docs"), 7001)
    world.write("home/.aws/amazonq/mcp.json", {"mcpServers": {"docs": _http()}})
    world.write("home/.claude.json", {"mcpServers": {"docs": {"type": "http", "url": "http://127.0.0.1:7001/mcp"}}})


@scenario(
    "a file of another tool that is broken is a warning",
    says(r"~/\.cursor/mcp\.json is not JSON"),
    says(r"~/\.codex/config\.toml is not TOML"),
    selects_nothing("zen-mcp"),
)
def _(world: World) -> None:
    world.write("home/.cursor/mcp.json", '{"mcpServers": {"a": "' + '\\"' * 200_000)
    world.write("home/.codex/config.toml", "[mcp_servers\n")
