"""Grafana (docs/fingerprints.md): `/api/health` names its database and version, with 503 where the database fails."""

from __future__ import annotations

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


def database_of(response: Response) -> tuple[str, str | None] | None:
    """The database's state and the version, where the response is Grafana's health."""
    document = read_object(response.body)
    state, commit = document.get("database"), document.get("commit")
    version = read_version(document.get("version"))
    if not isinstance(state, str) or not isinstance(commit, str) or version is None:
        return None
    return state, version


async def identify(wire: Wire, _credential: Credential | None) -> Answer:
    """Ask for the health, then make sure that not every path answers so."""
    base = wire.place.path.rstrip("/")
    health = await wire.ask("GET", f"{base}/api/health")
    told = database_of(health)
    if told is None or health.status not in (200, 503):
        return not_the_service(health, "Grafana")
    if await answers_everything(wire, f"{base}/api", health):
        return impostor("has Grafana's health on every page")
    state, version = told
    if health.status == 503 or state != "ok":
        return unhealthy(f"Grafana {version} cannot use its database", version)
    return verified(f"Grafana {version}", version)
