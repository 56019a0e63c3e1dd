"""What the endpoint calls things of many servers: `server__tool`, and `mcp+server+` before a resource's own URI.

A name depends on nothing but what it names, so that every replica has the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from gateway.rights import SEPARATOR

# What clients and the providers behind them take: https://modelcontextprotocol.io/specification/2025-11-25/server/tools
# recommends 128 characters, OpenAI's API takes 64.
MAX_CHARACTERS = 64
_FITS = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_CHARACTERS}}}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_MARK_CHARACTERS = 8
# A scheme may hold a plus (RFC 3986, 3.1), so that this is still a URI, or a template of one.
_SCHEME = "mcp"


def exposed(server: str, name: str) -> str:
    """What a tool or prompt of a server is called beside those of all others."""
    whole = f"{server}{SEPARATOR}{name}"
    if _FITS.fullmatch(whole):
        return whole
    mark = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:_MARK_CHARACTERS]
    return f"{_NOT_IN_NAMES.sub('_', whole)[: MAX_CHARACTERS - _MARK_CHARACTERS - 1]}_{mark}"


def exposed_uri(server: str, uri: str) -> str:
    """A resource's URI, or a template of one, beside those of all other servers."""
    return f"{_SCHEME}+{server}+{uri}"


def own_uri(uri: str, servers: Collection[str]) -> tuple[str, str] | None:
    """The server and the URI that it knows; None where the URI is of no server."""
    scheme, _, rest = uri.partition("+")
    server, _, own = rest.partition("+")
    return (server, own) if scheme == _SCHEME and server in servers else None
