"""Qdrant: `GET /` says who it is, `/readyz` whether it is ready. Both answer without the API key."""

from __future__ import annotations

import httpx2

from gateway.checks.answer import Answer
from gateway.outbound import error_line, http_client
from gateway.plan import PlannedService


async def ask_qdrant(service: PlannedService, seconds: float) -> Answer:
    assert service.endpoint is not None
    base = service.endpoint.rstrip("/")
    async with http_client(seconds) as client:
        try:
            # {"title": "qdrant - vector search engine", "version": "1.12.0", "commit": "…"}
            who = (await client.get(f"{base}/")).json()
            ready = await client.get(f"{base}/readyz")
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            return Answer("down", problem=error_line(error))
    if not isinstance(who, dict) or "qdrant" not in str(who.get("title", "")):
        return Answer("down", problem="answers, but not as Qdrant")
    version, stand_in = str(who.get("version")), bool(who.get("stand_in", False))
    if ready.status_code != 200:
        return Answer("degraded", version, f"is not ready: /readyz answered {ready.status_code}", stand_in)
    return Answer("ok", version, stand_in=stand_in)
