"""Grafana (docs/fingerprints.md): `/api/health` names its database and version, with 503 where the database fails.

With `hide_version` it names the database alone; then its login page has to be there too.
"""

from __future__ import annotations

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

# Grafana's own pages hand their settings to its script by this name.
_BOOT_DATA = b"grafanaBootData"


def database_of(response: Response) -> tuple[str, str | None] | None:
    """The database's state and the version, None where it is hidden; None where the response is no Grafana's health."""
    document = read_object(response.body)
    state, version = document.get("database"), read_version(document.get("version"))
    if not isinstance(state, str) or response.status not in (200, 503):
        return None
    if "version" not in document and "commit" not in document:
        return state, None
    return (state, version) if version is not None and isinstance(document.get("commit"), str) else None


async def identify(wire: Wire, _credential: Credential | None) -> Answer:
    """Ask for the health, then make sure that not every path answers so."""
    base = wire.place.path.rstrip("/")
    nowhere = stray(f"{base}/api")
    async with wire.foreseeing(nowhere):
        return await _identify(wire, base, nowhere)


async def _identify(wire: Wire, base: str, nowhere: str) -> Answer:
    health = await wire.ask("GET", f"{base}/api/health")
    told = database_of(health)
    if told is None:
        return not_the_service(health, "Grafana")
    if await answers_everything(wire, nowhere, health):
        return impostor("has Grafana's health on every page")
    state, version = told
    if version is None:
        login = await wire.ask("GET", f"{base}/login", enough=lambda body: _BOOT_DATA in body)
        if login.status != 200 or _BOOT_DATA not in login.body:
            return impostor("has Grafana's health, but neither its version nor its login page")
    title = f"Grafana {version}" if version else "Grafana, its version hidden"
    if health.status == 503 or state != "ok":
        return unhealthy(f"{title} cannot use its database", version)
    return verified(title, version)
