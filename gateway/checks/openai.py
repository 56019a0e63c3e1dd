"""A server of models: it lists them, as OpenAI's API does."""

from __future__ import annotations

from typing import Any

import httpx2

from gateway.checks.answer import Answer
from gateway.outbound import error_line, http_client
from gateway.plan import PlannedService


async def ask_openai(service: PlannedService, seconds: float) -> Answer:
    assert service.endpoint is not None
    try:
        async with http_client(seconds, service.headers()) as client:
            answer = await client.get(f"{service.endpoint.rstrip('/')}/models")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return Answer("down", problem=error_line(error))
    if answer.status_code in (401, 403):
        return Answer("down", problem="wants a key, or refuses the configured one")
    try:
        # {"object": "list", "data": [{"id": "llama3.2:latest", …}]}
        document: Any = answer.json()
    except ValueError:
        document = None
    models = document.get("data") if isinstance(document, dict) else None
    if answer.status_code != 200 or not isinstance(models, list):
        return Answer("down", problem="answers, but does not list models as OpenAI's API does")
    return Answer("ok") if models else Answer("degraded", problem="has no model; load one")
