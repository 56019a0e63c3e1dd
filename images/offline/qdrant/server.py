"""Stands in for Qdrant where no image registry can be reached: Qdrant's own engine behind part of its REST API.

Served are the parts that the gateway uses (collections; points: upsert, retrieve, search, query, scroll, count,
delete) with Qdrant's envelopes, status codes and rules for the API key, as documented at api.qdrant.tech.
An acknowledged write has been flushed to disk. Everything else answers 404.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn
from collection_store import CollectionStore, Conflict, NotFound, engine_errors
from filters import BadInput
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = version("qdrant-edge-py")
STORAGE = Path(os.environ.get("QDRANT_STORAGE", "/qdrant/storage"))
API_KEY_FILE = Path(os.environ.get("QDRANT_API_KEY_FILE", "/run/promptcraft/secrets/qdrant"))
# Qdrant's own default of `service.max_request_size_mb`.
MAX_BODY_BYTES = 32 * 1024 * 1024

OPEN_PATHS = ("/", "/healthz", "/readyz", "/livez")

Body = dict[str, Any]
Operation = Callable[[CollectionStore, Request, Body], Any]


class JsonLines(logging.Formatter):
    """One JSON object a line, as every service of the stack logs."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname.lower(), "service": "qdrant-stand-in", "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({"time": self.formatTime(record), **line})


class ApiKeyOnly:
    """Asks for `api-key` or a bearer token, except on the paths that Qdrant leaves open."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"api-key", headers.get(b"authorization", b"").removeprefix(b"Bearer "))
        if hmac.compare_digest(given, self._key):
            await self._app(scope, receive, send)
            return
        message = "Invalid API key or JWT" if given else "Must provide an API key or an Authorization bearer token"
        await PlainTextResponse(message, status_code=401)(scope, receive, send)


async def read_body(request: Request) -> Body:
    """The JSON object in the body, `{}` when there is none. Raises `BadInput`, or `HTTPException` 413."""
    received = bytearray()
    async for chunk in request.stream():
        received.extend(chunk)
        if len(received) > MAX_BODY_BYTES:
            raise HTTPException(413, "Payload Too Large")
    if not received:
        return {}
    try:
        body = json.loads(received)
    except ValueError as error:
        raise BadInput(f"Format error in JSON body: {error}") from error
    if not isinstance(body, dict):
        raise BadInput("Format error in JSON body: expected an object")
    return body


def failure(status: int, message: str, started: float) -> JSONResponse:
    return JSONResponse({"status": {"error": message}, "time": time.perf_counter() - started}, status_code=status)


def endpoint(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    """An operation on the store as a route: runs off the event loop, in Qdrant's envelope."""

    async def handle(request: Request) -> Response:
        started = time.perf_counter()
        store: CollectionStore = request.app.state.store
        try:
            body = await read_body(request)
            with engine_errors():
                result = await run_in_threadpool(operation, store, request, body)
        except BadInput as error:
            return failure(400, str(error), started)
        except NotFound as error:
            return failure(404, f"Not found: {error}", started)
        except Conflict as error:
            return failure(409, f"Wrong input: {error}", started)
        return JSONResponse({"result": result, "status": "ok", "time": time.perf_counter() - started})

    return handle


async def unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return Response(status_code=404)
    return failure(error.status_code, error.detail, time.perf_counter())


async def who(request: Request) -> Response:
    return JSONResponse({"title": "qdrant - vector search engine", "version": VERSION, "stand_in": True})


def text(body: str) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return PlainTextResponse(body)

    return handle


async def metrics(request: Request) -> Response:
    """The few of Qdrant's figures that are as true here (qdrant.tech/documentation/guides/monitoring)."""
    store: CollectionStore = request.app.state.store
    collections = len((await run_in_threadpool(store.list_collections))["collections"])
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return PlainTextResponse(
        f'# TYPE app_info gauge\napp_info{{name="qdrant",version="{VERSION}"}} 1\n'
        f"# TYPE collections_total gauge\ncollections_total {collections}\n"
        f"# TYPE memory_resident_bytes gauge\nmemory_resident_bytes {resident}\n"
    )


def name(request: Request) -> str:
    value: str = request.path_params["name"]
    return value


def point_id(request: Request) -> int | str:
    value: str = request.path_params["id"]
    return int(value) if value.isdecimal() else value


ROUTES = [
    Route("/", who),
    Route("/healthz", text("healthz check passed")),
    Route("/readyz", text("all shards are ready")),
    Route("/livez", text("healthz check passed")),
    Route("/metrics", metrics),
    Route("/collections", endpoint(lambda store, _, __: store.list_collections())),
    Route("/collections/{name}", endpoint(lambda store, r, _: store.describe(name(r))), methods=["GET"]),
    Route("/collections/{name}", endpoint(lambda store, r, body: store.create(name(r), body)), methods=["PUT"]),
    Route("/collections/{name}", endpoint(lambda store, r, _: store.drop(name(r))), methods=["DELETE"]),
    Route("/collections/{name}/exists", endpoint(lambda store, r, _: store.exists(name(r)))),
    Route("/collections/{name}/points", endpoint(lambda store, r, body: store.upsert(name(r), body)), methods=["PUT"]),
    Route(
        "/collections/{name}/points", endpoint(lambda store, r, body: store.retrieve(name(r), body)), methods=["POST"]
    ),
    Route(
        "/collections/{name}/points/search",
        endpoint(lambda store, r, body: store.search(name(r), body)),
        methods=["POST"],
    ),
    Route(
        "/collections/{name}/points/query",
        endpoint(lambda store, r, body: store.query(name(r), body)),
        methods=["POST"],
    ),
    Route(
        "/collections/{name}/points/scroll",
        endpoint(lambda store, r, body: store.scroll(name(r), body)),
        methods=["POST"],
    ),
    Route(
        "/collections/{name}/points/count",
        endpoint(lambda store, r, body: store.count(name(r), body)),
        methods=["POST"],
    ),
    Route(
        "/collections/{name}/points/delete",
        endpoint(lambda store, r, body: store.delete(name(r), body)),
        methods=["POST"],
    ),
    Route("/collections/{name}/points/{id}", endpoint(lambda store, r, _: store.retrieve_one(name(r), point_id(r)))),
]


def build_app(store: CollectionStore) -> ASGIApp:
    """The whole application; asks for an API key when there is a key file with something in it."""
    app = Starlette(routes=ROUTES, exception_handlers={HTTPException: unknown})
    app.state.store = store
    key = API_KEY_FILE.read_text().strip() if API_KEY_FILE.is_file() else ""
    return ApiKeyOnly(app, key) if key else app


def main() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO").upper(), handlers=[handler])
    store = CollectionStore(STORAGE)
    try:
        uvicorn.run(
            build_app(store),
            host=os.environ.get("HOST", "0.0.0.0"),
            port=int(os.environ.get("PORT", "6333")),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    finally:
        store.close()


if __name__ == "__main__":
    main()
