"""Who may ask, and what: a caller for each request, by its bearer token, and the rights that `access` gives it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.callers import ANYBODY, Caller, Callers
from gateway.errors import ApiError, error_response
from gateway.issuer import Issuer, TokenRefused
from gateway.plan import OAuth
from gateway.protected_resource import WELL_KNOWN, challenge
from gateway.rights import AGENTS, NOTHING, RIGHTS, SEPARATOR, Access, Rights

# Health for the engine and the load balancer, metrics for Prometheus on the internal network, and the page itself,
# which asks for a token before it asks for data. None of them says anything of agents, inputs or outputs. Health in
# detail is open to be told the status; who sees more is in the request's state.
_DETAILS = "/api/health/detailed"
OPEN_PATHS = frozenset({"/health", "/ready", "/metrics", _DETAILS, "/", "/page.css", "/page.js", "/openapi.json"})
# Where a request's state says whose it is: the key that what belongs to its caller is kept under.
CALLER = "caller"
# Where a request's state has the caller's name, as `access` calls it.
CALLER_NAME = "caller_name"
_DOTS_OF_JWT = 2
# Until the issuer may be there again.
RETRY_AFTER_SECONDS = 10
READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Where a request's state says whether health may be told in detail.
SEES_DETAILS = "sees_details"


def came_through_a_proxy(scope: Scope) -> bool:
    """Whether this comes from the world: the load balancer says for whom it asks, and lets nobody say it for it.

    Who asks this host's loopback, or sits on the stack's own network, has no reason to.
    """
    return "x-forwarded-for" in Headers(scope=scope)


def rights_of(request: Request) -> Rights:
    """What who asks may see and call."""
    rights: Rights = request.scope["state"].get(RIGHTS, NOTHING)
    return rights


def check_agent(request: Request, agent: str) -> None:
    """Raises `ApiError` 403 where who asks may not run that agent."""
    if not rights_of(request).allows(AGENTS, agent):
        name = request.scope["state"][CALLER_NAME]
        raise ApiError(
            403,
            "not_allowed",
            f"{name} has no agent {agent!r}: `access` of the stack gives no {AGENTS}{SEPARATOR}{agent}",
        )


class BearerTokens:
    """Asks for a token where there are any. In production without any, what costs money is refused altogether, and the
    world is told nothing."""

    def __init__(self, app: ASGIApp, callers: Callers, access: Access, issuer: Issuer | None) -> None:
        self._app = app
        self._callers = callers
        self._access = access
        self._issuer = issuer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_open = scope["path"] in OPEN_PATHS or scope["path"].startswith(WELL_KNOWN)
        caller, refused = self._caller(scope), None
        # What is open to all does not wait for an authorization server.
        if caller is None and self._issuer is not None and (not is_open or scope["path"] == _DETAILS):
            try:
                caller = await self._caller_by_issuer(scope, self._issuer)
            except TokenRefused as error:
                refused = error
        state = scope.setdefault("state", {})
        state[CALLER], state[CALLER_NAME] = (caller or ANYBODY).key, (caller or ANYBODY).name
        state[RIGHTS] = NOTHING if caller is None else self._access.rights(caller.name, scope["path"])
        state[SEES_DETAILS] = caller is not None or not came_through_a_proxy(scope)
        if caller is not None or is_open:
            await self._app(scope, receive, send)
            return
        refused = refused or self._without_token()
        headers = (
            {"Retry-After": str(RETRY_AFTER_SECONDS)}
            if refused.status == 503
            else {"WWW-Authenticate": challenge(scope, self._oauth, refused.error, refused.message)}
        )
        await error_response(refused.status, refused.code, refused.message, headers)(scope, receive, send)

    @property
    def _oauth(self) -> OAuth | None:
        return self._issuer.oauth if self._issuer is not None else None

    def _without_token(self) -> TokenRefused:
        if self._callers or self._issuer is not None:
            return TokenRefused(401, "unauthorized", "a bearer token is needed")
        message = "in production agents run only with bearer tokens; deploy a file of their hashes"
        return TokenRefused(401, "no_tokens", message)

    def _caller(self, scope: Scope) -> Caller | None:
        """Who asks; None where that is nobody who may."""
        if not self._callers and self._issuer is None:
            looks_only = scope["method"] in READING and not came_through_a_proxy(scope)
            return ANYBODY if looks_only or not self._access.production else None
        token = _bearer(scope)
        return None if token is None else self._callers.of(token)

    async def _caller_by_issuer(self, scope: Scope, issuer: Issuer) -> Caller | None:
        token = _bearer(scope)
        # What is no JWT by its looks was meant for a token of our own.
        return None if token is None or token.count(".") != _DOTS_OF_JWT else await issuer.caller(token)


def _bearer(scope: Scope) -> str | None:
    kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
