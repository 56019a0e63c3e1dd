"""Candidates that npx would start: `npx:PACKAGE`. Nothing is started or downloaded here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

from discovery import config
from discovery.approval import Entry
from discovery.config import ServerConfig
from discovery.readers import claude_settings, mcp_files
from discovery.readers.claude_settings import ClaudeSettings
from discovery.report import Candidate, Launch, NamedBy, Source
from discovery.request import Gathered, Request
from settings import VARIABLES

# What the template of .env holds before anybody has filled it in.
_PLACEHOLDER = re.compile(r"your[_-].*|<.*>|changeme", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Package:
    """An npm package that is an MCP server, and the variable without which it cannot work.

    `version` is the one that was tried; `variable` is the package's own name for the key, where that differs.
    """

    name: str
    key_variable: str | None = None
    version: str | None = None
    variable: str | None = None

    @property
    def spec(self) -> str:
        """The package as it is started."""
        return f"{self.name}@{self.version}" if self.version else self.name


# Names, versions and variables as published on npm; the key variables are those of `.env.template`.
KNOWN: Mapping[str, Package] = {
    "context7": Package("@upstash/context7-mcp", version="4.1.1"),
    "perplexity": Package("@perplexity-ai/mcp-server", "PERPLEXITY_API_KEY", "1.2.1"),
    "sentry": Package("@sentry/mcp-server", "SENTRY_AUTH_TOKEN", "0.39.0", "SENTRY_ACCESS_TOKEN"),
}


def npx(request: Request) -> Gathered:
    """One candidate for each server with a known package that the project or the stack names. Raises `ConfigError`."""
    configured = config.load_discovery_config(request.root).servers
    named = {name: ServerConfig() for name in request.servers}
    found: list[Candidate] = []
    entries: list[Entry] = []
    settings = claude_settings.read(request)
    for name, server in {**named, **configured}.items():
        if (package := package_of(name, server)) is None:
            continue
        if refusal := _refusal(settings, request, name, package, of_project=name in configured):
            found.append(refusal)
            continue
        entry = _entry(request, name, server, package) if name in configured else None
        found.append(_candidate(request, name, server, package, entry))
        entries += [entry] if entry else []
    warnings = tuple(mcp_files.waiting(candidate) for candidate in found if candidate.awaits_approval)
    return Gathered(tuple(found), warnings, entries=tuple(entries))


def package_of(name: str, server: ServerConfig) -> Package | None:
    """The package of a configured server: its own, or the one known under its name; None where neither is there."""
    known = KNOWN.get(name)
    package = server.package or (known.name if known else None)
    if package is None:
        return None
    # The version aside: to everything else that merely begins alike, the known one's key is not owed.
    if known is None or known.name not in (package, package.rpartition("@")[0]):
        return Package(package, server.key_variable)
    version = known.version if package == known.name else None
    return Package(package, server.key_variable or known.key_variable, version, known.variable)


def _entry(request: Request, name: str, server: ServerConfig, package: Package) -> Entry:
    variables = (package.key_variable,) if package.key_variable else ()
    evidence, does = f"{config.SERVERS_FILE}: servers.{name}", f"start npx {package.spec}"
    return request.approver.entry(name, evidence, server.as_written, does, variables)


def _refusal(
    settings: ClaudeSettings, request: Request, name: str, package: Package, *, of_project: bool
) -> Candidate | None:
    """The candidate of a package that Claude Code's settings turn off."""
    command = {"command": "npx", "args": ["-y", package.spec]}
    problem = settings.refusal(name, command, request.environment, of_project=of_project)
    if problem is None:
        return None
    named_by = NamedBy.PROJECT if of_project else NamedBy.OPERATOR
    where = f"npx package of {name}"
    return Candidate(
        name, Source.NPX, f"npx:{package.name}", where, problem=problem, key=name, named_by=named_by, turned_off=True
    )


def _candidate(request: Request, name: str, server: ServerConfig, package: Package, entry: Entry | None) -> Candidate:
    """The candidate for a package; `entry` is the project's, None where only the stack names the server."""
    named_by = NamedBy.OPERATOR if entry is None else NamedBy.PROJECT
    candidate = Candidate(
        name, Source.NPX, f"npx:{package.name}", f"npx package of {name}", key=name, named_by=named_by
    )
    if entry is not None:
        grant = request.approver.grant(entry)
        if not grant.approved:
            return replace(candidate, problem=request.approver.waits(entry), awaits_approval=True)
        # What is known of a package is this program's word, and its key goes along with the name; what the project
        # wrote can lead that key elsewhere.
        written = {"package", "key_variable", "arguments"} & server.as_written.keys()
        if written and (withheld := set(entry.variables) - grant.variables):
            lacks = f"needs {min(withheld)}, which nobody names for it; {mcp_files.how_to_name(name)}"
            return replace(candidate, problem=lacks)
    available = shutil.which("npx", path=request.environment.get("PATH", "")) is not None
    problem = None if available else "npx is not on PATH; install Node.js or correct PATH"
    key = _key(request, package.key_variable)
    if package.key_variable is not None and key is None:
        problem = f"{package.key_variable} is not set; set it in the environment or in .env"
    # A runner brings an npx of its own.
    launch = _launch(package, server, key) if package.key_variable is None or key is not None else None
    return replace(candidate, problem=problem, launch=launch)


def _launch(package: Package, server: ServerConfig, key: str | None) -> Launch:
    spec = package.spec
    # The project's files are everybody's.
    told = ("-y", spec, *server.arguments)
    variable = package.variable or package.key_variable
    if variable is None or package.key_variable is None or key is None:
        return Launch("npx", spec, told=told, arguments=server.arguments)
    pairs = ((variable, package.key_variable),)
    return Launch(
        "npx",
        spec,
        pairs,
        sets=(variable,),
        takes=(package.key_variable,),
        told=told,
        arguments=server.arguments,
        environment={variable: key},
    )


def _key(request: Request, variable: str | None) -> str | None:
    """The key's value: what the stack has as a secret, or else the variable; None where it is not set."""
    credential = request.credentials.get(VARIABLES.get(variable or "", ""))
    value = (credential.secret if credential else None) or request.environment.get(variable or "", "")
    return value.strip() if _is_set(value) else None


def _is_set(value: str) -> bool:
    return bool(value.strip()) and _PLACEHOLDER.fullmatch(value.strip()) is None
