"""Candidates from the user's files of other tools than Claude Code, each known for what it is (`otherTools`).

Places and keys are those of each tool's documentation. Their forms are `entry_forms.py`'s matter.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from discovery.readers import claude_settings, host_launches, mcp_files
from discovery.readers.mcp_files import McpFile
from discovery.report import Source
from discovery.request import Gathered, Request
from reading import safe_files

_MAX_BYTES = 4 * 1024 * 1024  # some of them hold all of a tool's settings
_EXTENSIONS = "User/globalStorage"


@dataclass(frozen=True)
class ToolFile:
    """A tool's file: its place below the home folder, or below that of settings, and the key of its servers."""

    name: str
    key: str = "mcpServers"
    in_settings: bool = False


# In the order of trust where two name one server.
FILES: tuple[ToolFile, ...] = (
    ToolFile("Claude/claude_desktop_config.json", in_settings=True),
    ToolFile(".cursor/mcp.json"),
    ToolFile("Code/User/mcp.json", "servers", in_settings=True),
    ToolFile("Code - Insiders/User/mcp.json", "servers", in_settings=True),
    ToolFile("VSCodium/User/mcp.json", "servers", in_settings=True),
    ToolFile(f"Code/{_EXTENSIONS}/saoudrizwan.claude-dev/settings/cline_mcp_settings.json", in_settings=True),
    ToolFile(f"Code/{_EXTENSIONS}/rooveterinaryinc.roo-cline/settings/mcp_settings.json", in_settings=True),
    ToolFile(".codeium/windsurf/mcp_config.json"),
    ToolFile(".gemini/settings.json"),
    ToolFile(".codex/config.toml", "mcp_servers"),
    ToolFile(".copilot/mcp-config.json"),
    ToolFile("opencode/opencode.json", "mcp", in_settings=True),
    ToolFile("zed/settings.json", "context_servers", in_settings=True),
    ToolFile(".lmstudio/mcp.json"),
    ToolFile(".aws/amazonq/mcp.json"),
    ToolFile(".kiro/settings/mcp.json"),
)


def other_tools(request: Request) -> Gathered:
    """The servers of every such file that exists, unless the stack turns that off."""
    if not request.other_tools:
        return Gathered()
    parts = list(_parts(request))
    found = [candidate for part in parts for candidate in part.candidates]
    warnings = [line for part in parts for line in part.warnings]
    if len(found) > mcp_files.MAX_SERVERS:
        warnings.append(
            f"{len(found)} servers in files of other tools; only the first {mcp_files.MAX_SERVERS} are looked at"
        )
    kept = found[: mcp_files.MAX_SERVERS]
    return Gathered(tuple(host_launches.sealed(candidate, request) for candidate in kept), tuple(warnings))


def _parts(request: Request) -> Iterator[Gathered]:
    owners = safe_files.owners_of(request.home)
    there = [(tool, path, label) for tool, path, label in _places(request) if path.exists()]
    settings = claude_settings.read(request) if there else claude_settings.NOTHING
    for tool, path, label in there:
        file = McpFile(
            path,
            label,
            Source.USER,
            owners=owners,
            host_commands=request.host_commands,
            max_bytes=_MAX_BYTES,
            settings=settings,
        )
        document, warnings = mcp_files.read_document(file)
        if document is None:
            yield Gathered(warnings=warnings)
        elif tool.key in document:
            yield mcp_files.candidates(file, document[tool.key], request.environment, tool.key)


def _places(request: Request) -> Iterator[tuple[ToolFile, Path, str]]:
    """Each file with its path and what messages call it."""
    settings, label = _settings_folder(request.home, request.machine_environment)
    for tool in FILES:
        folder, called = (settings, label) if tool.in_settings else (request.home, "~")
        yield tool, folder / tool.name, f"{called}/{tool.name}"


def _settings_folder(home: Path, environment: Mapping[str, str]) -> tuple[Path, str]:
    """Where tools keep their settings. Source: XDG Base Directory Specification; Apple's File System Programming."""
    if sys.platform == "darwin":
        return home / "Library" / "Application Support", "~/Library/Application Support"
    configured = environment.get("XDG_CONFIG_HOME", "")
    if configured.startswith("/") and "\0" not in configured:
        return Path(configured), "$XDG_CONFIG_HOME"
    return home / ".config", "~/.config"
