"""Prometheus (docs/fingerprints.md): its health text and its build information.

Mimir and VictoriaMetrics imitate the build information, so the text decides.
"""

from __future__ import annotations

import asyncio
import re

from discovery.fingerprints.answer import (
    Answer,
    answers_everything,
    impostor,
    not_the_service,
    read_object,
    read_version,
    stray,
    unhealthy,
    verified,
)
from discovery.request import Credential
from discovery.wire import Response, Wire

_BUILD, _READY = "/api/v1/status/buildinfo", "/-/ready"
# Before 2.38 it had no "Server" in it.
HEALTHY = (b"Prometheus Server is Healthy.", b"Prometheus is Healthy.")
# Among its own metrics: prometheus_build_info{branch="HEAD",goversion="go1.12.8",revision="e5b2",version="2.12.0"} 1
_BUILD_INFO = re.compile(
    rb'^prometheus_build_info\{[^}\n]*goversion="go[^}\n]*version="([^"\n]{1,64})"[^}\n]*\} 1$', re.M
)


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
    nowhere = stray(base)
    async with wire.foreseeing(f"{base}{_BUILD}", f"{base}{_READY}", nowhere):
        return await _identify(wire, base, nowhere)


async def _identify(wire: Wire, base: str, nowhere: str) -> Answer:
    health = await wire.ask("GET", f"{base}/-/healthy")
    if health.status == 404:
        # Below another path its root leads there.
        root = await wire.ask("GET", f"{base}/")
        return not_the_service(root if 300 <= root.status < 400 else health, "Prometheus")
    if health.status != 200 or health.body.strip() not in HEALTHY:
        return not_the_service(health, "Prometheus")
    build, ready, echo = await asyncio.gather(
        wire.ask("GET", f"{base}{_BUILD}"),
        wire.ask("GET", f"{base}{_READY}"),
        answers_everything(wire, nowhere, health),
    )
    version = version_of(build)
    if build.status == 404 and not echo:
        # Its build information came with 2.14.
        metrics = await wire.ask("GET", f"{base}/metrics", enough=lambda body: _BUILD_INFO.search(body) is not None)
        found = _BUILD_INFO.search(metrics.body) if metrics.status == 200 else None
        version = read_version(found[1].decode("ascii", "replace")) if found else None
    if echo:
        return impostor("has Prometheus' health text on every page")
    if ready.status in (500, 503):
        return unhealthy("Prometheus is not ready yet", version)
    if version is None:
        return impostor("has Prometheus' health text, but not its build information")
    return verified(f"Prometheus {version}", version)
