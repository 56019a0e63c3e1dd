"""Candidates from the project's files: `.mcp.json`, `.mcp/discovery-config.yaml`, `.mcp/servers/*.json`."""

from __future__ import annotations

from discovery import config, mcp_files
from discovery.mcp_files import McpFile
from discovery.report import Candidate, Source
from discovery.request import Gathered, Request
from reading import safe_files
from reading.text import one_line

MAX_FILES = 500


def project_files(request: Request) -> Gathered:
    """Servers the project names. Raises `ConfigError` for a broken `.mcp/discovery-config.yaml`."""
    servers = config.load_discovery_config(request.root).servers
    found = [
        Candidate(name, Source.PROJECT, server.url, f"{config.SERVERS_FILE}: servers.{name}.url")
        for name, server in servers.items()
        if server.url is not None
    ]
    warnings: list[str] = []
    folder = request.root / ".mcp" / "servers"
    paths, cut = safe_files.walk_files(folder, (".json",), MAX_FILES)
    if cut:
        warnings.append(f".mcp/servers has more files than are looked at: only the first {MAX_FILES} count")
    for path in (request.root / ".mcp.json", *paths):
        label = one_line(path.relative_to(request.root).as_posix(), 120)
        part = _file(request, McpFile(path, label, Source.PROJECT))
        found += part.candidates
        warnings += part.warnings
    if len(found) > mcp_files.MAX_SERVERS:
        warnings.append(f"{len(found)} servers in project files; only the first {mcp_files.MAX_SERVERS} are looked at")
    return Gathered(tuple(found[: mcp_files.MAX_SERVERS]), tuple(warnings))


def _file(request: Request, file: McpFile) -> Gathered:
    document, warnings = mcp_files.read_document(file)
    if document is None:
        return Gathered(warnings=warnings)
    return mcp_files.candidates(file, mcp_files.servers_in(document, file.path.stem), request.environment)
