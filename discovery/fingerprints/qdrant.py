"""Qdrant (docs/fingerprints.md): title and version at `/`, health texts, and a key that it refuses or takes.

`/`, `/healthz` and `/readyz` answer without a key; everything else needs one where one is set.
"""

from __future__ import annotations

import asyncio
import re

from discovery.fingerprints.answer import (
    Answer,
    answers_everything,
    auth_required,
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
from reading.text import one_line

TITLE = "qdrant - vector search engine"
_MAX_COLLECTIONS = 2000
_FIRST_WITH_HEALTH = (1, 5)  # /healthz, /livez and /readyz came with 1.5.0


def version_of(response: Response) -> str | None:
    """The version, where the response to `GET /` is Qdrant's."""
    if response.status != 200:
        return None
    document = read_object(response.body)
    return read_version(document.get("version")) if document.get("title") == TITLE else None


def collections_of(response: Response) -> tuple[str, ...] | None:
    """The names of the collections, sorted; None where the response to `GET /collections` has no list, or over 2000.

    A part of them would look like a loss of the others.
    """
    # {"result": {"collections": [{"name": "docs"}]}, "status": "ok", "time": 0.0001}
    result = read_object(response.body).get("result")
    listed = result.get("collections") if isinstance(result, dict) else None
    if response.status != 200 or not isinstance(listed, list):
        return None
    names = (entry.get("name") for entry in listed if isinstance(entry, dict))
    found = sorted({one_line(name, 60) for name in names if isinstance(name, str)})
    return tuple(found) if len(found) <= _MAX_COLLECTIONS else None


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:2])


def _is_its_own(response: Response) -> bool:
    """Whether the response to `GET /collections` has what Qdrant puts around every answer, or its own refusal."""
    if response.status in (401, 403):
        return b"api-key" in response.body.lower() or b"api key" in response.body.lower()
    document = read_object(response.body)
    is_timed = isinstance(document.get("time"), int | float) and document.get("status") == "ok"
    return is_timed and collections_of(response) is not None


async def identify(wire: Wire, credential: Credential | None) -> Answer:
    """Ask for the title, then for three things that a page with Qdrant's title on it does not have."""
    base = wire.place.path.rstrip("/")
    nowhere = stray(base)
    async with wire.foreseeing(f"{base}/healthz", f"{base}/readyz", f"{base}/collections", nowhere):
        return await _identify(wire, credential, base, nowhere)


async def _identify(wire: Wire, credential: Credential | None, base: str, nowhere: str) -> Answer:
    root = await wire.ask("GET", f"{base}/")
    version = version_of(root)
    if version is None:
        return not_the_service(root, "Qdrant")
    health, ready, collections, echo = await asyncio.gather(
        wire.ask("GET", f"{base}/healthz"),
        wire.ask("GET", f"{base}/readyz"),
        wire.ask("GET", f"{base}/collections"),
        answers_everything(wire, nowhere, root),
    )
    is_old = health.status == 404 and _parts(version) < _FIRST_WITH_HEALTH and _is_its_own(collections)
    if echo or not (is_old or (health.status == 200 and b"healthz check passed" in health.body)):
        return impostor("has Qdrant's title, but not its health check")
    if not is_old and (ready.status != 200 or b"all shards are ready" not in ready.body):
        return unhealthy(f"Qdrant {version} is not ready (readyz answers {ready.status})", version)
    if collections.status not in (401, 403):
        return verified(f"Qdrant {version}", version, holds=collections_of(collections))
    if credential is None or credential.secret is None:
        return auth_required(f"Qdrant {version} wants an API key; set QDRANT_API_KEY", version)
    keyed = await wire.ask("GET", f"{base}/collections", [("api-key", credential.secret)])
    if keyed.status != 200:
        return auth_required(f"Qdrant {version} refused the configured API key", version)
    return verified(f"Qdrant {version}, with the configured API key", version, holds=collections_of(keyed))
