"""Candidates from the project's files: `.mcp.json`, `.mcp/discovery-config.yaml`, `.mcp/servers/*.json`."""

from __future__ import annotations

from dataclasses import replace

from discovery import config
from discovery.approval import Entry, is_loopback
from discovery.config import ServerConfig
from discovery.readers import claude_settings, mcp_files
from discovery.readers.claude_settings import ClaudeSettings
from discovery.readers.mcp_files import McpFile
from discovery.report import Candidate, NamedBy, Source
from discovery.request import Gathered, Request
from reading import safe_files

MAX_FILES = 500


def project_files(request: Request) -> Gathered:
    """Servers the project names, as far as they are approved. Raises `ConfigError` for a broken configuration."""
    servers = config.load_discovery_config(request.root).servers
    settings = claude_settings.read(request)
    configured = [
        _configured(request, settings, name, server) for name, server in servers.items() if server.url is not None
    ]
    found = [candidate for candidate, _ in configured]
    entries = [entry for _, entry in configured if entry is not None]
    warnings = [*([request.approver.problem] if request.approver.problem else ()), *settings.warnings]
    warnings += [mcp_files.waiting(candidate) for candidate in found if candidate.awaits_approval]
    folder = request.root / ".mcp" / "servers"
    paths, cut = safe_files.walk_files(folder, (".json",), MAX_FILES)
    if cut:
        warnings.append(f".mcp/servers has more files than are looked at: only the first {MAX_FILES} count")
    for path in (request.root / mcp_files.CLAUDES_PROJECT_FILE, *paths):
        label = path.relative_to(request.root).as_posix()
        part = _file(request, McpFile(path, label, Source.PROJECT, approver=request.approver, settings=settings))
        found += part.candidates
        entries += part.entries
        warnings += part.warnings
    if len(found) > mcp_files.MAX_SERVERS:
        warnings.append(f"{len(found)} servers in project files; only the first {mcp_files.MAX_SERVERS} are looked at")
    return Gathered(tuple(found[: mcp_files.MAX_SERVERS]), tuple(warnings), entries=tuple(entries))


def _configured(
    request: Request, settings: ClaudeSettings, name: str, server: ServerConfig
) -> tuple[Candidate, Entry | None]:
    """A server's `url` in `.mcp/discovery-config.yaml`, which is a file of the project's like any other."""
    url = server.url or ""
    approver = request.approver
    entry = approver.entry(name, f"{config.SERVERS_FILE}: servers.{name}.url", server.as_written, f"call {url}", ())
    candidate = Candidate(name, Source.PROJECT, url, entry.evidence, named_by=NamedBy.PROJECT)
    if refusal := settings.refusal(name, {"url": url}, request.environment, of_project=True):
        return replace(candidate, problem=refusal, turned_off=True), None
    if approver.grant(entry).approved or (is_loopback(url) and not approver.only_approved):
        return candidate, entry
    return replace(candidate, problem=approver.waits(entry), awaits_approval=True), entry


def _file(request: Request, file: McpFile) -> Gathered:
    document, warnings = mcp_files.read_document(file)
    if document is None:
        return Gathered(warnings=warnings)
    return mcp_files.candidates(file, mcp_files.servers_in(document, file.path.stem), request.environment)
