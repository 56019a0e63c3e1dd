"""PromptCraft, our own gateway (docs/interface.md): `/health` says who it is."""

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


def health_of(response: Response) -> tuple[str, str] | None:
    """The status word and the version, where the response is PromptCraft's health."""
    document = read_object(response.body)
    status, version = document.get("status"), read_version(document.get("version"))
    if document.get("service") != "promptcraft" or not isinstance(status, str) or version is None:
        return None
    return status, version


async def identify(wire: Wire, _credential: Credential | None) -> Answer:
    """Ask for the health, then make sure that not every path answers so."""
    base = wire.place.path.rstrip("/")
    nowhere = stray(base)
    async with wire.foreseeing(nowhere):
        return await _identify(wire, base, nowhere)


async def _identify(wire: Wire, base: str, nowhere: str) -> Answer:
    health = await wire.ask("GET", f"{base}/health")
    told = health_of(health)
    if told is None:
        return not_the_service(health, "PromptCraft")
    if await answers_everything(wire, nowhere, health):
        return impostor("has PromptCraft's health on every page")
    status, version = told
    if health.status != 200 or status != "ok":
        return unhealthy(f"PromptCraft {version} answers {health.status}", version)
    return verified(f"PromptCraft {version}", version)
