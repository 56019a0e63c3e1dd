"""The two applications: the API, and the page with the same API under it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from gateway import VERSION
from gateway.errors import ErrorAnswer, install_error_handlers
from gateway.middleware import KnownHost, RequestLog
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


def build_api(settings: Settings, routers: Sequence[APIRouter]) -> FastAPI:
    """The API of port 7862, with its OpenAPI document."""
    return _app(settings, routers, FastAPI(title="PromptCraft gateway", version=VERSION, redoc_url=None, docs_url=None))


def build_page(settings: Settings, routers: Sequence[APIRouter]) -> FastAPI:
    """The page of port 7860. It asks its own port, so that it works behind any name and port offset."""
    app = FastAPI(title="PromptCraft", version=VERSION, openapi_url=None)
    for path, (name, media_type) in PAGE_FILES.items():
        app.add_api_route(path, _static(name, media_type), include_in_schema=False)
    return _app(settings, routers, app)


def _static(name: str, media_type: str):  # type: ignore[no-untyped-def]
    content = (files("gateway") / "page" / name).read_bytes()

    async def static() -> Response:
        return Response(content, media_type=media_type, headers={"Content-Security-Policy": PAGE_POLICY})

    return static


def _app(settings: Settings, routers: Sequence[APIRouter], app: FastAPI) -> FastAPI:
    for router in routers:
        app.include_router(router, responses={421: {"model": ErrorAnswer}, 403: {"model": ErrorAnswer}})
    install_error_handlers(app)
    # Added last is outermost.
    app.add_middleware(KnownHost, allowed=settings.allowed_hosts)
    app.add_middleware(RequestLog)
    return app
