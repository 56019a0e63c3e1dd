"""Candidates from the user's own files: Claude Code's, `~/.claude/mcp`, and checkouts of Zen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from discovery.readers import claude_json, claude_settings, host_launches, mcp_files
from discovery.readers.claude_home import MANAGED_FOLDER, claude_folder
from discovery.readers.claude_json import ClaudeJson
from discovery.readers.mcp_files import McpFile
from discovery.report import Candidate, NamedBy, Source
from discovery.request import Gathered, Request
from reading import safe_files
from reading.text import one_line

MAX_FILES = 500

_CHECKOUTS = ("dev/zen-mcp-server", "zen-mcp-server", "dev/pal-mcp-server", "pal-mcp-server")


def user_files(request: Request) -> Gathered:
    """Servers of `~/.claude.json` (global and for this project), `~/.claude/mcp/**/*.json`, and Zen checkouts."""
    owners = safe_files.owners_of(request.home)
    found: list[Candidate] = []
    warnings: list[str] = []
    for part in _parts(request, owners):
        found += part.candidates
        warnings += part.warnings
    if len(found) > mcp_files.MAX_SERVERS:
        warnings.append(f"{len(found)} servers in user files; only the first {mcp_files.MAX_SERVERS} are looked at")
    kept = found[: mcp_files.MAX_SERVERS]
    return Gathered(tuple(host_launches.sealed(candidate, request) for candidate in kept), tuple(warnings))


def _parts(request: Request, owners: frozenset[int]) -> Iterator[Gathered]:
    folder, label = claude_folder(request.home, request.machine_environment)
    settings = claude_settings.read(request)
    whole = claude_json.read(request)
    main = McpFile(
        path=whole.path,
        label=whole.label,
        source=Source.USER,
        owners=owners,
        host_commands=request.host_commands,
        settings=settings,
    )
    path = MANAGED_FOLDER / claude_settings.MANAGED_SERVERS
    # Root's, like everything that decides for every user of the machine.
    yield _whole_file(request, replace(main, path=path, label=str(path), owners=frozenset({0}), managed=True))
    yield _claude_json(request, main, whole)
    paths, cut = safe_files.walk_files(folder / "mcp", (".json",), MAX_FILES)
    for path in paths:
        inner = path.relative_to(folder).as_posix()
        yield _whole_file(request, replace(main, path=path, label=f"{label}/{inner}"))
    if cut:
        yield Gathered(warnings=(f"{label}/mcp has more files than are looked at: only the first {MAX_FILES} count",))
    yield _ignored_servers(replace(main, path=folder / "settings.json", label=f"{label}/settings.json"))
    yield Gathered(tuple(_checkouts(request.home)))


def _claude_json(request: Request, file: McpFile, whole: ClaudeJson) -> Gathered:
    local = whole.project.get("mcpServers", {})
    everywhere = mcp_files.candidates(file, whole.servers, request.environment)
    here = mcp_files.candidates(file, local, request.environment, "projects[this].mcpServers")
    # Claude Code itself uses the local one of two servers of one name, whether it lives or not.
    names = set(local) if isinstance(local, dict) else set()
    shadowed = {f"{file.label}: mcpServers.{one_line(str(name), 64)}" for name in names}
    kept = (
        replace(candidate, problem="shadowed by this project's server of the same name")
        if candidate.key in shadowed
        else candidate
        for candidate in everywhere.candidates
    )
    return Gathered((*here.candidates, *kept), (*whole.warnings, *here.warnings, *everywhere.warnings))


def _whole_file(request: Request, file: McpFile) -> Gathered:
    document, warnings = mcp_files.read_document(file)
    if document is None:
        return Gathered(warnings=warnings)
    return mcp_files.candidates(file, mcp_files.servers_in(document, file.path.stem), request.environment)


def _ignored_servers(file: McpFile) -> Gathered:
    # What can't be read of it is told with what it says of servers (`claude_settings.py`).
    document, _ = mcp_files.read_document(file)
    if document is None or not document.get("mcpServers"):
        return Gathered()
    return Gathered(warnings=(f"{file.label}: mcpServers found, but Claude Code ignores it, and so does discovery",))


def _checkouts(home: Path) -> Iterator[Candidate]:
    for inner in _CHECKOUTS:
        if (home / inner).is_dir():
            problem = f"speaks stdio; start it behind an HTTP bridge and set ZEN_MCP_URL ({mcp_files.NEVER_RUN})"
            yield Candidate("zen-mcp", Source.USER, "", f"~/{inner}", problem=problem, named_by=NamedBy.USER)
