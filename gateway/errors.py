"""Every error of the API has one shape: `{"error": {"code", "message"}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

log = logging.getLogger(__name__)


class ErrorDetail(BaseModel):
    code: str
    message: str


class ErrorAnswer(BaseModel):
    error: ErrorDetail


class ApiError(HTTPException):
    """Something the caller can act on. `code` is one word for machines, `message` one line for people.

    An `HTTPException`, because FastAPI turns any other exception that comes up while a body is read into a 400.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    answer = ErrorAnswer(error=ErrorDetail(code=code, message=message))
    return JSONResponse(answer.model_dump(), status_code=status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        # The offending value is left out: it may be a secret, and it may be large.
        where = ".".join(str(part) for part in first["loc"])
        return error_response(422, "invalid_request", f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        code = error.code if isinstance(error, ApiError) else phrase
        headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
        return error_response(error.status_code, code, str(error.detail), headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("unexpected error", exc_info=error)
        return error_response(500, "internal_error", "unexpected error; the log has it under the request's id")


def _allowed(request: Request) -> str:
    # Starlette names the methods of the first route with that path, and each method here is a route of its own.
    methods: set[str] = set()
    # The routers that the application includes are not among its own routes.
    for context in iter_route_contexts(request.app.router.routes):
        route = context.original_route
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))
