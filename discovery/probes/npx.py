"""Candidates that npx would start: `npx:PACKAGE`. Nothing is started or downloaded here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from discovery import config
from discovery.config import ServerConfig
from discovery.report import Candidate, Source
from discovery.request import Gathered, Request

# What the template of .env holds before anybody has filled it in.
_PLACEHOLDER = re.compile(r"your[_-].*|<.*>|changeme", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Package:
    """An npm package that is an MCP server, and the variable without which it cannot work."""

    name: str
    key_variable: str | None = None


# Names as published on npm; the variables are the guide's.
KNOWN: Mapping[str, Package] = {
    "context7": Package("@upstash/context7-mcp"),
    "perplexity": Package("@perplexity-ai/mcp-server", "PERPLEXITY_API_KEY"),
    "sentry": Package("@sentry/mcp-server", "SENTRY_AUTH_TOKEN"),
}


def npx(request: Request) -> Gathered:
    """One candidate for each configured server with a known package. Raises `ConfigError` for a broken file."""
    return Gathered(tuple(_candidates(request, config.load_discovery_config(request.root).servers)))


def package_of(name: str, server: ServerConfig) -> Package | None:
    """The package of a configured server: its own, or the one known under its name; None where neither is there."""
    known = KNOWN.get(name)
    package = server.package or (known.name if known else None)
    if package is None:
        return None
    same = known is not None and package.startswith(known.name)
    return Package(package, server.key_variable or (known.key_variable if known and same else None))


def _candidates(request: Request, servers: Mapping[str, ServerConfig]) -> Iterator[Candidate]:
    available = shutil.which("npx", path=request.environment.get("PATH", "")) is not None
    for name, server in servers.items():
        package = package_of(name, server)
        if package is None:
            continue
        problem = None if available else "npx is not on PATH; install Node.js or correct PATH"
        key = package.key_variable
        if problem is None and key is not None and not _is_set(request.environment.get(key, "")):
            problem = f"{key} is not set; set it in the environment or in .env"
        yield Candidate(name, Source.NPX, f"npx:{package.name}", f"npx package of {name}", problem=problem)


def _is_set(value: str) -> bool:
    return bool(value.strip()) and _PLACEHOLDER.fullmatch(value.strip()) is None
