"""Stands in for Grafana where no image registry can be reached: the same provisioning, no pictures.

`GET /api/health` and `GET /metrics` are open, as Grafana's are. Everything else asks for the administrator's
password: `GET /api/dashboards` lists what is provisioned, `GET /api/panels` runs each panel's queries. Else 404.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from provisioning import Provisioning, Query, Refused, load
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = "1.0.0"
USER = "admin"
QUERY_SECONDS = 5.0
HEALTH = "/api/health"
METRICS = "/metrics"
# What Grafana puts in place of its own variables before it asks, at the default range of these dashboards.
VARIABLES = {"$__rate_interval": "1m", "$__interval": "15s", "$__range": "15m"}


class JsonLines(logging.Formatter):
    """One JSON object a line, as every service of the stack logs."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname.lower(), "service": "grafana-stand-in", "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({"time": self.formatTime(record), **line})


class AdministratorOnly:
    """Asks for the administrator by HTTP's basic scheme, except for the health and the metrics."""

    def __init__(self, app: ASGIApp, password: str) -> None:
        self._app = app
        self._wanted = f"{USER}:{password}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in (HEALTH, METRICS) or self._is_administrator(scope):
            await self._app(scope, receive, send)
            return
        headers = {"WWW-Authenticate": 'Basic realm="Grafana"'}
        await JSONResponse({"message": "Unauthorized"}, 401, headers)(scope, receive, send)

    def _is_administrator(self, scope: Scope) -> bool:
        scheme, _, encoded = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        return scheme.lower() == b"basic" and hmac.compare_digest(given, self._wanted)


async def health(request: Request) -> JSONResponse:
    return JSONResponse({"database": "ok", "version": VERSION, "commit": "stand-in", "stand_in": True})


async def metrics(request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def dashboards(request: Request) -> JSONResponse:
    known: Provisioning = request.app.state.provisioning
    return JSONResponse(
        [
            {"uid": one.uid, "title": one.title, "panels": list(dict.fromkeys(query.panel for query in one.queries))}
            for one in known.dashboards.values()
        ]
    )


async def panels(request: Request) -> JSONResponse:
    known: Provisioning = request.app.state.provisioning
    queries = [query for dashboard in known.dashboards.values() for query in dashboard.queries]
    return JSONResponse([await run_in_threadpool(run, known, query) for query in queries])


def run(known: Provisioning, query: Query) -> dict[str, Any]:
    """The query and what its data source made of it: `success`, `error` or `unreachable`, and how many series."""
    source = known.sources[query.source]
    asked = query.expression
    for name, value in VARIABLES.items():
        asked = asked.replace(name, value)
    url = f"{source.url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': asked})}"
    told: dict[str, Any] = {"panel": query.panel, "query": query.expression, "source": source.name}
    try:
        with urllib.request.urlopen(url, timeout=QUERY_SECONDS) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as error:
        return {**told, "status": "error", "series": 0, "error": error.read(500).decode(errors="replace")}
    except (OSError, ValueError) as error:
        return {**told, "status": "unreachable", "series": 0, "error": str(error)}
    return {**told, "status": document["status"], "series": len(document["data"]["result"])}


def build_app(known: Provisioning, password: str) -> ASGIApp:
    routes = [
        Route(HEALTH, health),
        Route(METRICS, metrics),
        Route("/api/dashboards", dashboards),
        Route("/api/panels", panels),
    ]
    app = Starlette(routes=routes)
    app.state.provisioning = known
    return AdministratorOnly(app, password)


def main() -> int:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO").upper(), handlers=[handler])
    # The names of Grafana's own variables.
    password_file = Path(os.environ.get("GF_SECURITY_ADMIN_PASSWORD__FILE", "/nonexistent"))
    password = password_file.read_text(encoding="utf-8").strip() if password_file.is_file() else ""
    if not password:
        logging.error("there is no default password; name its file in GF_SECURITY_ADMIN_PASSWORD__FILE")
        return 2
    try:
        known = load(Path(os.environ.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning")))
    except Refused as refused:
        logging.error("%s", refused)
        return 2
    uvicorn.run(
        build_app(known, password),
        host=os.environ.get("HOST", "0.0.0.0"),
        port=int(os.environ.get("PORT", "3000")),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
