"""One server's entry as different tools write it, put into the form that Claude Code writes.

`command`, `args`, `env` for what speaks stdio; `url`, `headers` for what is reached at an address. Sources: the
documentation of Gemini CLI (`httpUrl`), Windsurf (`serverUrl`), opencode (`type: local/remote`, a list as `command`,
`environment`, `enabled`), Cline (`transportType`), Codex (`http_headers`, `env_http_headers`, `bearer_token_env_var`),
Zed (a map as `command`), VS Code and Cursor (`${env:NAME}`, `envFile`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from discovery.readers import expansion
from discovery.readers.commands import LaunchError, text_of
from reading.text import one_line, shown

MAX_HEADERS = 32
_MAX_TIMEOUT = 24 * 60 * 60 * 1000  # milliseconds
_URLS = ("url", "httpUrl", "serverUrl")
_KINDS = ("type", "transport", "transportType")
_REMOTE = frozenset({"http", "streamablehttp", "httpstream", "streamable", "sse", "remote"})
_STDIO = frozenset({"stdio", "local"})
_OF_ANOTHER_TOOL = re.compile(r"\$\{(?:env:([A-Za-z_][A-Za-z0-9_]*)|((?:input|command|config):[^}]*))\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# RFC 9110's for the message and the connection, and MCP's own.
_NOT_TO_SET = frozenset(
    {
        *("host", "connection", "content-length", "content-type", "transfer-encoding", "te", "upgrade"),
        *("accept", "accept-encoding", "mcp-session-id", "mcp-protocol-version", "mcp-method"),
    }
)


class FormError(ValueError):
    """The entry is nothing that can be used; the message says why."""


def plain(server: Mapping[str, object]) -> dict[str, object]:
    """The entry in Claude Code's form, with `type` as `http`, `sse`, `stdio` or left out. Raises `FormError`."""
    if server.get("disabled") is True or server.get("enabled") is False:
        raise FormError("disabled in its file")
    url = next((server[key] for key in _URLS if isinstance(server.get(key), str)), None)
    command, args = server.get("command"), server.get("args")
    env = server.get("env", server.get("environment"))
    if isinstance(command, list):
        command, args = (command[0], command[1:]) if command else (None, None)
    elif isinstance(command, dict):
        args, env = command.get("args", args), command.get("env", env)
        command = command.get("path")
    kind = _kind(server)
    if kind in _REMOTE and isinstance(url, str):
        command = None
    elif kind in _STDIO or (kind is None and isinstance(command, str)):
        url = None
    elif kind is not None or url is None:
        raise FormError(_unknown(kind, server))
    if url is None and not isinstance(command, str):
        raise FormError(_unknown(kind, server))
    if "envFile" in server:
        raise FormError("takes variables from a file (envFile), which is not read; write them into env")
    found: dict[str, object] = {"url": url} if url is not None else {"command": command, "args": args, "env": env}
    if url is not None:
        found["type"] = "sse" if kind == "sse" else "http"
        found["headers"] = dict(_header_texts(server))
    found |= {key: server[key] for key in ("headersHelper", "oauth", "timeout") if key in server}
    return {key: _references(value) for key, value in found.items() if value is not None}


def headers(server: Mapping[str, object], environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers of an entry in its plain form, expanded. Raises `FormError`."""
    written = server.get("headers")
    found: list[tuple[str, str]] = []
    for name, text in (written if isinstance(written, dict) else {}).items():
        if _HEADER_NAME.fullmatch(str(name)) is None or str(name).lower() in _NOT_TO_SET:
            raise FormError(f"header {one_line(str(name), 40)} is none that an entry can set; remove it")
        try:
            value = expansion.expand(str(text), environment).strip()
        except expansion.ExpansionError as error:
            raise FormError(f"headers need more: {error}") from error
        if not value.isascii() or not value.isprintable() or not value:
            raise FormError(f"header {one_line(str(name), 40)} has no value that HTTP can carry; correct it")
        found.append((str(name), value))
    return tuple(found)


def answer_seconds(server: Mapping[str, object]) -> float | None:
    """What `timeout` (milliseconds) of an entry allows for an answer; None where it says nothing that can be meant.

    Claude Code, too, leaves out less than a second.
    """
    value = server.get("timeout")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1000 <= value <= _MAX_TIMEOUT:
        return None
    return value / 1000


def _kind(server: Mapping[str, object]) -> str | None:
    for key in _KINDS:
        kind = server.get(key)
        if isinstance(kind, dict):
            kind = kind.get("type")
        if kind is not None:
            return re.sub(r"[^a-z0-9]", "", kind.lower()) if isinstance(kind, str) else shown(kind, 20)
    return None


def _unknown(kind: str | None, server: Mapping[str, object]) -> str:
    if kind in ("ws", "websocket"):
        return "speaks MCP over WebSocket (type ws), which agents can't use here; give it an http url"
    if kind == "sdk":
        return "lives inside of the program that names it (type sdk), so nobody else can use it"
    said = next((server[key] for key in _KINDS if server.get(key) is not None), None)
    return f"neither a url with a known type nor a stdio command (type {shown(said, 40)})"


def _header_texts(server: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    written = server.get("headers", server.get("http_headers"))
    if written is not None and not isinstance(written, dict):
        raise FormError(f"headers is {shown(written)}, not a map of names to texts; correct it")
    for name, value in (written or {}).items():
        try:
            yield str(name), text_of(value, f"header {one_line(str(name), 40)}")
        except LaunchError as error:
            raise FormError(str(error)) from error
    taken = server.get("env_http_headers")
    for name, variable in taken.items() if isinstance(taken, dict) else ():
        yield str(name), f"${{{variable}}}"
    if isinstance(token := server.get("bearer_token_env_var"), str):
        yield "Authorization", f"Bearer ${{{token}}}"
    if len(written or {}) > MAX_HEADERS:
        raise FormError(f"has {len(written or {})} headers; at most {MAX_HEADERS} are sent")


def _references(value: object) -> object:
    """`${env:NAME}` as `${NAME}`, at every depth. Raises `FormError` for what only the other tool could ask."""
    if isinstance(value, str):
        return _OF_ANOTHER_TOOL.sub(_reference, value)
    if isinstance(value, list):
        return [_references(one) for one in value]
    if isinstance(value, dict):
        return {key: _references(one) for key, one in value.items()}
    return value


def _reference(match: re.Match[str]) -> str:
    if match[2] is not None:
        raise FormError(f"asks its tool for {one_line(match[0], 40)}, which nobody can answer here; write ${{NAME}}")
    return f"${{{match[1]}}}"
