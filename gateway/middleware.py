"""What every request passes through: its id and log line, the check of Host and Origin, the limit of its body."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import ApiError, error_response
from gateway.json_bounds import extent
from gateway.logs import request_id
from gateway.metrics import Metrics
from gateway.room import Hold, Room

log = logging.getLogger("gateway.http")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_BODY_BYTES = 1024 * 1024
TOO_LARGE = f"the body may have {MAX_BODY_BYTES} bytes"
# Asked every few seconds by health checks and scrapers; logged only when they fail, and not traced.
QUIET_PATHS = ("/health", "/ready", "/metrics")
# As nginx counts who has gone before there was an answer.
GONE = 499
# Where a request's hold of the room stands in its state, for the run that goes on with it.
HOLD = "hold"


def route_of(scope: Scope) -> str:
    """The route's template (`/api/agents/{agent}/runs`), so that paths made up by callers stay out of labels."""
    return str(getattr(scope.get("route"), "path", "unmatched"))


class RequestLog:
    """Gives a request its id; when it ends, counts it and writes one line."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identity = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(identity)
        # Until there is an answer: who asked has gone, and there will be none.
        started, status = time.perf_counter(), GONE

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = identity
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception:
            status = 500 if status == GONE else status
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.http_request(route_of(scope), scope["method"], status, seconds)
            is_quiet = scope["path"] in QUIET_PATHS and status < 400
            log.log(
                logging.DEBUG if is_quiet else logging.INFO,
                "request",
                extra={
                    "method": scope["method"],
                    "route": route_of(scope),
                    "status": status,
                    "duration_ms": round(seconds * 1000, 1),
                },
            )
            request_id.reset(token)


class HeadLikeGet:
    """Answers HEAD wherever GET is answered: with the same head, and without a body, which uvicorn leaves out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun, is_ended = asyncio.Event(), False

        async def noted(message: Message) -> None:
            nonlocal is_ended
            await send(message)
            is_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            begun.set()

        async def gone() -> Message:
            # Nothing comes after the head; a stream of events would go on until its reader leaves.
            await begun.wait()
            return {"type": "http.disconnect"}

        asked = {**scope, "method": "GET"}
        await self._app(asked, gone, noted)
        # For the log, which is written outside.
        scope["route"] = asked.get("route")
        if begun.is_set() and not is_ended:
            await send({"type": "http.response.body"})


class KnownHost:
    """Refuses requests under a name that this gateway does not have, and from pages of other origins.

    A page anywhere can make a browser ask an address on the user's machine under a name of the page's choice (DNS
    rebinding). Such a name is always a public one: IP addresses and names without a dot (`localhost`, a container's
    alias) can't be rebound, and need no configuration.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(Headers(scope=scope))) is not None:
            await error_response(*refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if not self._is_own(_host_name(f"//{host}")):
            return 421, "unknown_host", "not a name of this gateway; add it to PROMPTCRAFT_ALLOWED_HOSTS"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "foreign_origin", "requests from pages of other origins are not answered"
        return None

    def _is_own(self, name: str) -> bool:
        if name in self._allowed or (name and "." not in name and ":" not in name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class BodyLimit:
    """Refuses a body before anybody parses it: one that is too large, by its declared length or as soon as it has come
    in too far; one that has not come in whole after `seconds`; JSON that would be too much or too deep; and any body
    for which there is no room."""

    def __init__(self, app: ASGIApp, seconds: float, room: Room) -> None:
        self._app = app
        self._seconds = seconds
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > MAX_BODY_BYTES:
            await error_response(413, "too_large", TOO_LARGE)(scope, receive, send)
            return
        hold, is_whole = Hold(self._room), False

        async def whole() -> Message:
            nonlocal is_whole
            # After the body comes only word that the caller has gone, which may take as long as the answer does.
            if is_whole:
                return await receive()
            message = await self._whole(receive, hold)
            is_whole = True
            return message

        scope.setdefault("state", {})[HOLD] = hold
        try:
            await self._app(scope, whole, send)
        finally:
            hold.release()

    async def _whole(self, receive: Receive, hold: Hold) -> Message:
        received = bytearray()
        more = True
        try:
            async with asyncio.timeout(self._seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        return message
                    part, more = message.get("body", b""), message.get("more_body", False)
                    if len(received) + len(part) > MAX_BODY_BYTES:
                        raise ApiError(413, "too_large", TOO_LARGE)
                    if part:
                        self._room.check()
                        hold.grow(len(part))
                        received += part
        except TimeoutError as error:
            raise ApiError(408, "too_slow", f"the body may take {self._seconds:g} s") from error
        body = bytes(received)
        found = extent(body)
        if found.problem is not None:
            raise ApiError(422, "invalid_request", f"body: {found.problem}")
        hold.grow(0, found.values)
        return {"type": "http.request", "body": body, "more_body": False}


def _host_name(authority: str) -> str:
    try:
        return (urlsplit(authority).hostname or "").rstrip(".")
    except ValueError:
        return ""
