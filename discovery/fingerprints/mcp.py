"""MCP over HTTP in its three forms (docs/fingerprints.md), and which MCP server it is.

The 2026-07-28 revision is asked by `server/discover`, the earlier ones by `initialize`, the 2024-11-05 one over a pair
of an event stream and a message address. What decides is not that MCP is spoken but the name the server gives itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from discovery.approval import is_loopback
from discovery.fingerprints.answer import (
    Answer,
    auth_required,
    impostor,
    not_the_service,
    quoted,
    read_json,
    read_object,
    unhealthy,
    verified,
)
from discovery.report import Verdict
from discovery.request import Credential
from discovery.wire import (
    GarbledError,
    HttpExchange,
    Place,
    Response,
    UnreachableError,
    Wire,
    WireError,
    place_of,
)
from reading.endpoints import EndpointError, normalise_endpoint
from reading.text import one_line

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_KNOWN_LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_CLIENT = {"name": "promptcraft-discovery", "version": "1"}
_META = "io.modelcontextprotocol/"
_REVISION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
_METADATA = re.compile(r'resource_metadata="([^"]{1,2048})"')
_SESSION = re.compile(r"[\x21-\x7e]{1,256}")
# JSON-RPC errors of the modern revision: unsupported version, headers that contradict the body, no such method.
_UNSUPPORTED_VERSION, _HEADER_MISMATCH, _NO_METHOD = -32022, -32020, -32601
# What servers on the official SDK say to a Host that they were not told of (RFC 9110, 15.5.20).
_MISDIRECTED = 421
# Words that say nothing about which server it is.
_FILLERS = frozenset({"mcp", "server"})


@dataclass(frozen=True)
class Introduction:
    """What a server said of itself. `name` is "" where it kept it to itself."""

    name: str
    version: str | None
    revision: str


@dataclass(frozen=True)
class Rejection:
    """A JSON-RPC error and the protocol revisions it offers instead."""

    code: int
    supported: tuple[str, ...] = ()


def is_same_server(name: str, service: str, identities: Iterable[str]) -> bool:
    """Whether a server that calls itself `name` is `service`.

    `identities` (from the catalog or the configuration) decide where there are any; otherwise the two names are
    equal but for case, punctuation and the words "mcp" and "server".
    """
    known = {identity.strip().lower() for identity in identities}
    if known:
        return name.strip().lower() in known
    words = _words(name)
    return bool(words) and words == _words(service)


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"[^\W_]+", name.lower()) if word not in _FILLERS)


def messages_in(response: Response) -> tuple[dict[str, Any], ...]:
    """The JSON-RPC messages of a response: one JSON document, or the `data:` of each complete event of a stream."""
    if "text/event-stream" in response.header("content-type").lower():
        texts = [data.encode() for _event, data in events_in(response.body)]
    else:
        texts = [response.body]
    documents = [read_json(text) for text in texts]
    return tuple(document for document in documents if isinstance(document, dict) and document.get("jsonrpc") == "2.0")


def events_in(body: bytes) -> tuple[tuple[str, str], ...]:
    """The complete events of an event stream, each as (event, data). Source: WHATWG HTML, "Server-sent events"."""
    text = body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, _unfinished = text.split("\n\n")
    found = []
    for block in blocks:
        event, data = "message", []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                event = value
            elif name == "data":
                data.append(value)
        if data:
            found.append((event, "\n".join(data)))
    return tuple(found)


def introduction_in(message: dict[str, Any]) -> Introduction | None:
    """How a server introduces itself in the result of `server/discover` or `initialize`, or None."""
    result = message.get("result")
    if not isinstance(result, dict):
        return None
    meta = result.get("_meta")
    info = result.get("serverInfo")
    if not isinstance(info, dict) and isinstance(meta, dict):
        info = meta.get(f"{_META}serverInfo")
    revisions = _revisions(result.get("supportedVersions")) or _revisions([result.get("protocolVersion")])
    if not revisions or not (isinstance(info, dict) or isinstance(result.get("capabilities"), dict)):
        return None
    info = info if isinstance(info, dict) else {}
    name, version = info.get("name"), info.get("version")
    return Introduction(
        name=name if isinstance(name, str) else "",
        version=one_line(version, 40) if isinstance(version, str) and version else None,
        revision=max(revisions),
    )


def rejection_in(message: dict[str, Any]) -> Rejection | None:
    """The JSON-RPC error of a message, or None."""
    error = message.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        return None
    data = error.get("data")
    return Rejection(error["code"], _revisions(data.get("supported")) if isinstance(data, dict) else ())


def message_address(path: str, data: str) -> str | None:
    """Where the 2024-11-05 transport wants its messages, or None where that is another host.

    `path` is the stream's own; `data` is what its `endpoint` event says: a path, a relative one, or a whole URL.
    """
    if any(not 0x21 <= ord(character) <= 0x7E for character in data) or len(data) > 1024:
        return None
    try:
        parts = urlsplit(urljoin(f"http://here{path}", data))
    except ValueError:
        return None
    if parts.netloc != "here" or not parts.path.startswith("/"):
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def paths_for(path: str) -> tuple[str, ...]:
    """Where to ask: at the endpoint's own path, or where servers commonly are when it has none.

    With and without a trailing slash, as a redirect from one to the other is not followed.
    """
    if path in ("", "/"):
        return ("/mcp", "/mcp/", "/")
    return (path, path.removesuffix("/") if path.endswith("/") else f"{path}/")


def stream_path_for(path: str) -> str:
    """Where the event stream of the 2024-11-05 transport is: the path itself if it says so, or `/sse`."""
    return path if path.rstrip("/").endswith("/sse") else "/sse"


def _revisions(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value[:32] if isinstance(item, str) and _REVISION.fullmatch(item))


async def identify(wire: Wire, credential: Credential | None) -> Answer:
    """Ask in each form until one of them is understood; with the headers of its entry where it wants them."""
    headers = credential.headers if credential is not None else ()
    answer = await _identify(wire, None if headers else credential)
    if not headers or answer.verdict not in (Verdict.AUTH_REQUIRED, Verdict.IMPOSTOR):
        return answer
    wants_more = answer.verdict is Verdict.AUTH_REQUIRED
    # A certificate says that it is the host of the entry. Without one, anybody may listen there.
    if not (wants_more and wire.place.secure) and not await _shows_mcp(wire, whole=wants_more):
        kept_back = "; the headers of its entry are kept back, as nothing shows that it speaks MCP"
        return replace(answer, reason=answer.reason + kept_back) if wants_more else answer
    told = await _identify(wire.showing(headers), None)
    return auth_required("refused the headers of its entry") if told.verdict is Verdict.AUTH_REQUIRED else told


async def _shows_mcp(wire: Wire, *, whole: bool) -> bool:
    """Whether what refuses to talk is an MCP server all the same: by a JSON-RPC error, or (`whole`) by its metadata.

    Source: RFC 9728 (OAuth 2.0 Protected Resource Metadata), 3 and 5.1, which MCP's authorization prescribes.
    """
    path = paths_for(wire.place.path)[0]
    response = await _initialize(wire, path, None)
    if any(rejection_in(message) is not None for message in messages_in(response)):
        return True
    if not whole:
        return False
    well_known = "/.well-known/oauth-protected-resource"
    named = _METADATA.search(response.header("www-authenticate"))
    own = [named[1]] if named and _is_here(named[1], wire.place) else []
    for place in dict.fromkeys((*(urlsplit(url).path for url in own), f"{well_known}{path}", well_known)):
        metadata = await wire.ask("GET", place, [("Accept", "application/json")])
        resource = read_object(metadata.body).get("resource") if metadata.status == 200 else None
        if isinstance(resource, str) and _is_here(resource, wire.place):
            whose = urlsplit(resource).path.rstrip("/")
            if f"{path.rstrip('/')}/".startswith(f"{whose}/"):
                return True
    return False


def _is_here(url: str, place: Place) -> bool:
    """Whether a URL names the host and port of `place`; all names of the loopback are one."""
    try:
        there = place_of(normalise_endpoint(url))
    except EndpointError:
        return False
    here = f"{place.scheme}://{place.authority}"
    same = there.host == place.host or (is_loopback(url) and is_loopback(here))
    return same and (there.scheme, there.port) == (place.scheme, place.port)


async def _identify(wire: Wire, credential: Credential | None) -> Answer:
    own = wire.place.path
    last: Answer | None = None
    if own.rstrip("/").endswith("/sse"):
        last = await _ask_stream(wire, own)
        if last is not None:
            return last
    for path in paths_for(own):
        answer = await _ask_path(wire, path, credential)
        if not isinstance(answer, Response):
            return answer
        if answer.status == _MISDIRECTED:
            name = one_line(wire.place.authority, 80)
            return unhealthy(f"answers {answer.status} at {path}: it does not serve as {name}; let it take that name")
        last = last or not_the_service(answer, "an MCP server")
    if wire.shows_headers and own and last is not None:
        return last  # the headers are for that very address
    return await _ask_stream(wire, stream_path_for(own)) or last or impostor("does not answer as an MCP server")


async def _ask_path(wire: Wire, path: str, credential: Credential | None) -> Answer | Response:
    """The answer at one path, or the response that shows that MCP is not spoken there."""
    token: str | None = None
    response = await _discover(wire, path, MODERN, token)
    if response.status == 401 and response.header("www-authenticate"):
        token = _token_for(wire, credential)
        if token is None:
            login = " (OAuth)" if "resource_metadata" in response.header("www-authenticate") else ""
            return auth_required(f"wants a bearer token before it says who it is{login}{_withheld(wire, credential)}")
        response = await _discover(wire, path, MODERN, token)
        if response.status in (401, 403):
            return auth_required("refused the configured token")
    rejection = next((found for message in messages_in(response) if (found := rejection_in(message))), None)
    if rejection is not None and rejection.code in (_UNSUPPORTED_VERSION, _HEADER_MISMATCH) and rejection.supported:
        offered = max(rejection.supported)
        response = await _discover(wire, path, offered, token) if offered not in _KNOWN_LEGACY else response
    if (introduced := _introduced(response)) and introduced.name:
        return _answer(introduced, path)
    initialized = await _initialize(wire, path, token)
    if legacy := _introduced(initialized):
        return _answer(legacy, path)
    if introduced:
        return _answer(introduced, path)
    if rejection is not None and rejection.code in (_UNSUPPORTED_VERSION, _HEADER_MISMATCH, _NO_METHOD):
        return impostor("speaks MCP, but does not say which server it is")
    return initialized


def _token_for(wire: Wire, credential: Credential | None) -> str | None:
    # It wants the token before it has said who it is. Only a certificate for the configured host can vouch for it.
    return credential.secret if credential is not None and wire.place.secure else None


def _withheld(wire: Wire, credential: Credential | None) -> str:
    if credential is None or wire.place.secure:
        return ""
    return "; the configured one is kept back, as only https would prove who asks for it"


def _introduced(response: Response) -> Introduction | None:
    if response.status != 200:
        return None
    return next((found for message in messages_in(response) if (found := introduction_in(message))), None)


def _answer(introduced: Introduction, path: str) -> Answer:
    if not introduced.name:
        return impostor("speaks MCP, but does not say which server it is")
    reason = f"MCP {introduced.revision} at {one_line(path, 60)}, calls itself {quoted(introduced.name)}"
    return replace(verified(reason, introduced.version, introduced.name), path=path)


async def _discover(wire: Wire, path: str, revision: str, token: str | None) -> Response:
    body = {
        "jsonrpc": "2.0",
        "id": "discover",
        "method": "server/discover",
        "params": {
            "_meta": {
                f"{_META}protocolVersion": revision,
                f"{_META}clientInfo": _CLIENT,
                f"{_META}clientCapabilities": {},
            }
        },
    }
    return await _post(wire, path, body, [("MCP-Protocol-Version", revision), ("Mcp-Method", "server/discover")], token)


async def _initialize(wire: Wire, path: str, token: str | None) -> Response:
    response = await _post(wire, path, _initialize_message(LEGACY), [], token)
    session = response.header("mcp-session-id")
    if _SESSION.fullmatch(session):
        # Tidying up is a courtesy; servers may refuse it (405) or hang up.
        with suppress(WireError):
            await wire.ask("DELETE", path, [("Mcp-Session-Id", session), *_bearer(token)])
    return response


def _initialize_message(revision: str) -> dict[str, Any]:
    parameters = {"protocolVersion": revision, "capabilities": {}, "clientInfo": _CLIENT}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": parameters}


async def _post(
    wire: Wire, path: str, message: dict[str, Any], headers: Sequence[tuple[str, str]], token: str | None
) -> Response:
    return await wire.ask(
        "POST", path, [*_HEADERS, *headers, *_bearer(token)], json.dumps(message).encode(), _AnswerWatch()
    )


_HEADERS = (("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream"))


def _bearer(token: str | None) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")] if token else []


class _AnswerWatch:
    """Whether an event stream has delivered: such a response may stay open for ever.

    Each event is looked at once, so that a flood of them costs no more than its length.
    """

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, body: bytes) -> bool:
        end = max(body.rfind(gap) + len(gap) for gap in (b"\n\n", b"\r\r", b"\r\n\r\n"))
        if end <= self._seen:
            return False
        fresh, self._seen = body[self._seen : end], end
        return any(
            '"jsonrpc"' in data and ('"result"' in data or '"error"' in data) for _event, data in events_in(fresh)
        )


async def _ask_stream(wire: Wire, path: str) -> Answer | None:
    """The answer over the 2024-11-05 transport, or None where there is none at `path`."""
    try:
        async with wire.exchange("GET", path, [("Accept", "text/event-stream")]) as stream:
            if stream.head.status == 401 and stream.head.header("www-authenticate"):
                return auth_required(f"wants a bearer token at {one_line(path, 60)} before it says who it is")
            if stream.head.status != 200 or "text/event-stream" not in stream.head.header("content-type").lower():
                return None
            return await _hold_stream(wire, path, stream)
    except (UnreachableError, GarbledError):
        return None


async def _hold_stream(wire: Wire, path: str, stream: HttpExchange) -> Answer:
    body = await stream.read_body(lambda body: bool(events_in(body)))
    event, data = next(iter(events_in(body)), ("", ""))
    if event != "endpoint":
        return impostor("has an event stream, but not MCP's")
    address = message_address(path, data)
    if address is None:
        return impostor("wants its messages sent to another host")
    await _post(wire, address, _initialize_message(_KNOWN_LEGACY[-1]), [], None)
    body = await stream.read_body(_AnswerWatch())
    introduced = _introduced(Response(200, stream.head.headers, body))
    return (
        _answer(introduced, path) if introduced else impostor("has MCP's event stream, but does not introduce itself")
    )
