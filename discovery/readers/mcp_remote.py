"""`npx mcp-remote URL`: a bridge from stdio to a server that speaks HTTP already, and so that server is the one to ask.

Its options, and that it fills `${NAME}` of a header from its own variables: README of the npm package `mcp-remote`,
0.1.38.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from discovery.readers.commands import LaunchError
from discovery.readers.package_runners import Called
from reading import endpoints

PACKAGE = "mcp-remote"

_FLAGS = ("--allow-http", "--debug", "--silent", "--enable-proxy")
_VALUED = (
    *("--header", "--transport", "--host", "--resource", "--ignore-tool", "--auth-timeout", "--protocol"),
    *("--static-oauth-client-metadata", "--static-oauth-client-info"),
)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):\s*(.*)", re.DOTALL)
_REFERENCE = re.compile(r"\$\{([^}:]+)\}")


def bridged(called: Called, variables: Mapping[str, str]) -> dict[str, object]:
    """The entry of the server behind the bridge, which has `variables` of its own: `type`, `url`, `headers`.

    Raises `LaunchError` where it can't be told.
    """
    words = list(called.arguments)
    url: str | None = None
    values: dict[str, list[str]] = {}
    while words:
        option, separator, value = words.pop(0).partition("=")
        if option in _VALUED:
            if not separator and not words:
                raise LaunchError(f"runs mcp-remote with {option} and nothing after it; write its value")
            values.setdefault(option, []).append(value if separator else words.pop(0))
        elif option not in _FLAGS and url is None:
            url = f"{option}{separator}{value}"
    if url is None:
        raise LaunchError("runs mcp-remote without an address; write the server's URL after it")
    transport = values.get("--transport", [""])[-1]
    entry: dict[str, object] = {"type": "sse" if transport == "sse-only" else "http", "url": _with_scheme(url)}
    headers = dict(_header(text, variables) for text in values.get("--header", ()))
    return {**entry, "headers": headers} if headers else entry


def _header(text: str, variables: Mapping[str, str]) -> tuple[str, str]:
    match = _HEADER.fullmatch(text)
    if match is None:
        raise LaunchError("runs mcp-remote with a --header that is not NAME:VALUE; correct it")
    return match[1], _REFERENCE.sub(lambda reference: variables.get(reference[1], reference[0]), match[2])


def _with_scheme(url: str) -> str:
    """`url`, or `host:port/path` as an address: of this machine's without TLS, of any other's with it."""
    host_port = url.partition("/")[0]
    if "://" in url or "${" in host_port:
        return url
    try:
        host = endpoints.host_and_port(host_port).rpartition(":")[0]
    except endpoints.EndpointError:
        return url
    return f"{'http' if host in ('localhost', '127.0.0.1', '[::1]') else 'https'}://{url}"
