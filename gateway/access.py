"""Who may ask: bearer tokens, of which this process knows only the SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import error_response
from gateway.rights import EVERYTHING, NOTHING, RIGHTS

HASH = re.compile(r"[0-9a-f]{64}")
# Health for the engine and the load balancer, metrics for Prometheus on the internal network, and the page itself,
# which asks for a token before it asks for data. None of them says anything of agents, inputs or outputs. Health in
# detail is open to be told the status; who sees more is in the request's state.
OPEN_PATHS = frozenset(
    {"/health", "/ready", "/metrics", "/api/health/detailed", "/", "/page.css", "/page.js", "/openapi.json"}
)
# Where a request's state says whose it is: the beginning of its token's hash, where there are tokens.
CALLER = "caller"
ANYBODY = "anybody"
_CALLER_LENGTH = 16
READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Where a request's state says whether health may be told in detail.
SEES_DETAILS = "sees_details"


class TokensError(Exception):
    """The file of tokens can't be used; the text says which line and what to do."""


def load_hashes(path: Path) -> frozenset[str]:
    """The hashes in `path`, one a line with an optional comment after it; none when there is no file."""
    if not path.is_file():
        return frozenset()
    hashes = set()
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        value = line.split()[0].lower()
        if not HASH.fullmatch(value):
            raise TokensError(
                f"{path}:{number}: not a SHA-256 in hex; write the output of: printf %s TOKEN | sha256sum"
            )
        hashes.add(value)
    return frozenset(hashes)


def came_through_a_proxy(scope: Scope) -> bool:
    """Whether this comes from the world: the load balancer says for whom it asks, and lets nobody say it for it.

    Who asks this host's loopback, or sits on the stack's own network, has no reason to.
    """
    return "x-forwarded-for" in Headers(scope=scope)


class BearerTokens:
    """Asks for a token where there are any. In production without any, what costs money is refused altogether, and the
    world is told nothing."""

    def __init__(self, app: ASGIApp, hashes: frozenset[str], production: bool) -> None:
        self._app = app
        self._hashes = hashes
        self._production = production

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[CALLER] = ANYBODY
        is_allowed = self._is_allowed(scope)
        state[RIGHTS] = EVERYTHING if is_allowed and not self._production else NOTHING
        state[SEES_DETAILS] = is_allowed or not came_through_a_proxy(scope)
        if is_allowed or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        code, message = (
            ("unauthorized", "a bearer token is needed")
            if self._hashes
            else ("no_tokens", "in production agents run only with bearer tokens; deploy a file of their hashes")
        )
        await error_response(401, code, message, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if not self._hashes:
            return not self._production or (scope["method"] in READING and not came_through_a_proxy(scope))
        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode()).hexdigest()
        # Every hash is compared, so that time tells nothing of which was close.
        known = [hmac.compare_digest(given, one) for one in self._hashes]
        scope["state"][CALLER] = given[:_CALLER_LENGTH]
        return kind.lower() == "bearer" and any(known)
