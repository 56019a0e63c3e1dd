"""Prometheus, Grafana and nginx: each asked on the path where it says who it is."""

from __future__ import annotations

from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from gateway.checks.answer import Answer
from gateway.outbound import error_line, http_client
from gateway.plan import PlannedService

# The stack's own Prometheus asks every few seconds. Of somebody else's nobody here knows how often it does.
STALE_SECONDS = 30.0


async def ask_prometheus(service: PlannedService, seconds: float) -> Answer:
    # Mimir and VictoriaMetrics imitate buildinfo; only Prometheus writes this line.
    answer = await _ask(service, seconds, "/-/healthy", "Prometheus Server is Healthy", "/api/v1/status/buildinfo")
    if answer.status != "ok" or service.action != "deploy":
        return answer
    try:
        behind = await _behind(service, seconds)
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        return replace(answer, status="degraded", problem=f"does not say what it has kept: {error_line(error)}")
    if behind < STALE_SECONDS:
        return answer
    return replace(
        answer, status="degraded", problem=f"has kept nothing for {behind:.0f} s; is there room on its disk?"
    )


async def _behind(service: PlannedService, seconds: float) -> float:
    """The age of the latest sample, in seconds by Prometheus' own clock.

    With a full disk it scrapes, keeps nothing, and calls itself healthy and ready.
    """
    async with http_client(seconds) as client:
        answer = await client.get(f"{service.endpoint}/api/v1/status/tsdb")
    # {"data": {"headStats": {"maxTime": …}}}, in milliseconds; below zero where it has just begun.
    latest = int(answer.json()["data"]["headStats"]["maxTime"])
    now = parsedate_to_datetime(answer.headers["date"]).timestamp()
    return now - latest / 1000 if latest > 0 else 0.0


async def ask_grafana(service: PlannedService, seconds: float) -> Answer:
    return await _ask(service, seconds, "/api/health", '"database"', "/api/health")


async def ask_nginx(service: PlannedService, seconds: float) -> Answer:
    assert service.endpoint is not None
    async with http_client(seconds) as client:
        try:
            answer = await client.get(service.endpoint)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return Answer("down", problem=error_line(error))
    # Server: nginx/1.22.1
    name, _, version = answer.headers.get("server", "").partition("/")
    if name != "nginx":
        return Answer("down", problem="answers, but not as nginx")
    return Answer("ok", version or None)


async def _ask(service: PlannedService, seconds: float, path: str, proof: str, version_path: str) -> Answer:
    assert service.endpoint is not None
    base = service.endpoint.rstrip("/")
    async with http_client(seconds) as client:
        try:
            answer = await client.get(base + path)
            build = (await client.get(base + version_path)).json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            return Answer("down", problem=error_line(error))
    if proof not in answer.text:
        return Answer("down", problem=f"answers, but {path} does not say what {service.protocol} says")
    # {"status": "success", "data": {"version": …}} or {"database": "ok", "version": …}
    document: dict[str, Any] = build if isinstance(build, dict) else {}
    data: dict[str, Any] = document["data"] if isinstance(document.get("data"), dict) else document
    version, stand_in = str(data.get("version")), bool(document.get("stand_in", False))
    if answer.status_code != 200:
        return Answer("degraded", version, f"{path} answered {answer.status_code}", stand_in)
    return Answer("ok", version, stand_in=stand_in)
