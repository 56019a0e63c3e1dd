"""Who may ask, and what: a caller for each request, by its bearer token, and the rights that `access` gives it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.callers import ANYBODY, Caller, Callers
from gateway.errors import ApiError, error_response
from gateway.rights import AGENTS, NOTHING, RIGHTS, SEPARATOR, Access, Rights

# Health for the engine and the load balancer, metrics for Prometheus on the internal network, and the page itself,
# which asks for a token before it asks for data. None of them says anything of agents, inputs or outputs. Health in
# detail is open to be told the status; who sees more is in the request's state.
OPEN_PATHS = frozenset(
    {"/health", "/ready", "/metrics", "/api/health/detailed", "/", "/page.css", "/page.js", "/openapi.json"}
)
# Where a request's state says whose it is: the key that what belongs to its caller is kept under.
CALLER = "caller"
# Where a request's state has the caller's name, as `access` calls it.
CALLER_NAME = "caller_name"
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

    def __init__(self, app: ASGIApp, callers: Callers, access: Access) -> None:
        self._app = app
        self._callers = callers
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = self._caller(scope)
        state = scope.setdefault("state", {})
        state[CALLER], state[CALLER_NAME] = (caller or ANYBODY).key, (caller or ANYBODY).name
        state[RIGHTS] = NOTHING if caller is None else self._access.rights(caller.name, scope["path"])
        state[SEES_DETAILS] = caller is not None or not came_through_a_proxy(scope)
        if caller is not None or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        code, message = (
            ("unauthorized", "a bearer token is needed")
            if self._callers
            else ("no_tokens", "in production agents run only with bearer tokens; deploy a file of their hashes")
        )
        await error_response(401, code, message, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller | None:
        """Who asks; None where that is nobody who may."""
        if not self._callers:
            looks_only = scope["method"] in READING and not came_through_a_proxy(scope)
            return ANYBODY if looks_only or not self._access.production else None
        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        caller = self._callers.of(token.strip())
        return caller if kind.lower() == "bearer" else None
