"""The two applications: the API, and the page with the same API under it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.routing import Route

from gateway import VERSION
from gateway.access import BearerTokens
from gateway.callers import Callers
from gateway.endpoint.server import Endpoints
from gateway.errors import install_error_handlers
from gateway.health import HealthBoard
from gateway.issuer import Issuer
from gateway.metrics import Metrics
from gateway.middleware import QUIET_PATHS, BodyLimit, HeadLikeGet, KnownHost, RequestLog
from gateway.rights import Access
from gateway.room import Room
from gateway.run_routes import refusals
from gateway.settings import Settings

PAGE_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


MCP_PATHS = ("/mcp", "/mcp/{server}")


@dataclass(frozen=True)
class Parts:
    """What both applications share."""

    settings: Settings
    routers: Sequence[APIRouter]
    metrics: Metrics
    board: HealthBoard
    callers: Callers
    access: Access
    issuer: Issuer | None
    room: Room
    endpoints: Endpoints


def build_api(parts: Parts) -> FastAPI:
    """The API of port 7862, with its OpenAPI document and the metrics."""
    app = FastAPI(
        title="PromptCraft gateway", version=VERSION, redoc_url=None, docs_url=None, telemetry=_telemetry(parts)
    )

    async def metrics() -> Response:
        parts.metrics.services(await parts.board.look())
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route("/metrics", metrics, summary="For Prometheus", response_class=Response)
    # Without sessions there is nothing to listen to by GET, and nothing to end by DELETE.
    for path in MCP_PATHS:
        app.router.routes.append(Route(path, parts.endpoints, methods=["POST"]))
    return _with(parts, app)


def build_page(parts: Parts) -> FastAPI:
    """The page of port 7860. It asks its own port, so that it works behind any name and port offset."""
    app = FastAPI(title="PromptCraft", version=VERSION, openapi_url=None, telemetry=_telemetry(parts))
    for path, (name, media_type) in PAGE_FILES.items():
        app.add_api_route(path, _static(name, media_type), include_in_schema=False)
    return _with(parts, app)


def _telemetry(parts: Parts) -> TelemetryConfig:
    # A span a request, sent where `tracing` sends all of them; the metrics are our own.
    return TelemetryConfig(
        tracing=parts.settings.traces_endpoint is not None,
        metrics=False,
        logs=False,
        operation_spans=False,
        auto_configure=False,
        exclude=lambda scope: scope.get("path") in QUIET_PATHS,
    )


def _static(name: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    content = (files("gateway") / "page" / name).read_bytes()

    async def static() -> Response:
        return Response(content, media_type=media_type, headers={"Content-Security-Policy": PAGE_POLICY})

    return static


def _with(parts: Parts, app: FastAPI) -> FastAPI:
    for router in parts.routers:
        app.include_router(router, responses=refusals(403, 421))
    install_error_handlers(app)
    # Added last is outermost.
    app.add_middleware(BodyLimit, seconds=parts.settings.body_seconds, room=parts.room)
    app.add_middleware(BearerTokens, callers=parts.callers, access=parts.access, issuer=parts.issuer)
    app.add_middleware(KnownHost, allowed=parts.settings.allowed_hosts)
    app.add_middleware(HeadLikeGet)
    app.add_middleware(RequestLog, metrics=parts.metrics)
    return app
