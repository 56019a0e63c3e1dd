"""Prometheus (docs/fingerprints.md): its health text and its build information.

Mimir and VictoriaMetrics imitate the build information, so the text decides.
"""

from __future__ import annotations

import asyncio

from discovery.fingerprints.answer import (
    Answer,
    answers_everything,
    impostor,
    not_the_service,
    read_object,
    read_version,
    unhealthy,
    verified,
)
from discovery.request import Credential
from discovery.wire import Response, Wire

HEALTHY = b"Prometheus Server is Healthy."


def version_of(response: Response) -> str | None:
    """The version, where the response is Prometheus' build information."""
    document = read_object(response.body)
    data = document.get("data")
    if response.status != 200 or document.get("status") != "success" or not isinstance(data, dict):
        return None
    return read_version(data.get("version")) if isinstance(data.get("goVersion"), str) else None


async def identify(wire: Wire, _credential: Credential | None) -> Answer:
    """Ask for the health text, then for build information and readiness."""
    base = wire.place.path.rstrip("/")
    health = await wire.ask("GET", f"{base}/-/healthy")
    if health.status != 200 or health.body.strip() != HEALTHY:
        return not_the_service(health, "Prometheus")
    build, ready, echo = await asyncio.gather(
        wire.ask("GET", f"{base}/api/v1/status/buildinfo"),
        wire.ask("GET", f"{base}/-/ready"),
        answers_everything(wire, base, health),
    )
    version = version_of(build)
    if echo:
        return impostor("has Prometheus' health text on every page")
    if ready.status in (500, 503):
        return unhealthy("Prometheus is not ready yet", version)
    if version is None:
        return impostor("has Prometheus' health text, but not its build information")
    return verified(f"Prometheus {version}", version)
