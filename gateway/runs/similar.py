"""Past runs by likeness: what a run was asked and answered as one vector in Qdrant, one collection a stack.

Source for the requests: Qdrant's REST API (https://api.qdrant.tech/api-reference), as of 1.10 and later.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

import httpx2
from pydantic import BaseModel, ValidationError

from gateway.metrics import Metrics
from gateway.outbound import error_line, http_client
from gateway.plan import Plan
from gateway.runs.embedding import Embedder, EmbeddingError
from gateway.runs.record import RunRecord

log = logging.getLogger(__name__)

QDRANT_SECONDS = 3.0
# Runs that wait to be remembered; beyond it they are forgotten rather than held in memory.
QUEUE = 100
EXCERPT_CHARACTERS = 500
PRUNE_SECONDS = 3600.0
DAY_SECONDS = 86_400


class SimilarError(Exception):
    """Past runs can't be searched; the text is one line for people."""


class UnknownRun(Exception):
    """No vector is kept of that run."""


class SimilarRun(BaseModel):
    """`score` is the cosine, 1 for the same; `excerpt` is how the output begins."""

    id: str
    score: float
    agent: str
    model: str
    ended: str
    excerpt: str


class SimilarRuns:
    """Remembers in the background, so that no run waits for Qdrant. `problem` is why it last failed, None when not."""

    def __init__(self, plan: Plan, embedder: Embedder, keep_days: int, metrics: Metrics) -> None:
        self.problem: str | None = None
        self._embedder = embedder
        self._keep_seconds = keep_days * DAY_SECONDS
        self._metrics = metrics
        self._waiting: asyncio.Queue[tuple[RunRecord, str]] = asyncio.Queue(QUEUE)
        self._pruned_at: float | None = None
        # Vectors of two embedders can't be compared, and may differ in length: a collection each.
        name = f"promptcraft-{plan.project}-{plan.stack}-runs-{embedder.name}"
        self._collection = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:255]
        service = next(iter(plan.used("qdrant").values()), None)
        self._client: httpx2.AsyncClient | None = None
        if service is None or service.endpoint is None:
            self.problem = "no Qdrant in the plan"
        else:
            secret = service.secret()
            self._client = http_client(QDRANT_SECONDS, {"api-key": secret} if secret else None)
            self._client.base_url = httpx2.URL(service.endpoint)

    @property
    def embedder(self) -> str:
        return self._embedder.name

    def remember(self, record: RunRecord, asked: str) -> None:
        """Leaves a succeeded run to the background work."""
        if self._client is None:
            return
        try:
            self._waiting.put_nowait((record, asked))
        except asyncio.QueueFull:
            self._metrics.similar("dropped")

    async def work(self) -> None:
        """Embeds and stores what was left, one after the other. Ends by cancellation."""
        while True:
            record, asked = await self._waiting.get()
            try:
                await self._store(record, asked)
                self._metrics.similar("stored")
            except SimilarError as error:
                self._metrics.similar("failed")
                log.warning("a run is not remembered: %s", error, extra={"decision": "forgotten"})
            finally:
                self._waiting.task_done()

    async def finish(self, seconds: float) -> None:
        """Waits for what was left to be stored, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            log.warning("%d runs are not remembered: the gateway stopped", self._waiting.qsize())

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def like_text(self, text: str, limit: int, agents: Collection[str] | None) -> list[SimilarRun]:
        """The runs most like `text`, best first; of these `agents` alone unless it is None. Raises `SimilarError`."""
        return await self._nearest(await self._embed(text), limit, agents)

    async def like_run(self, run: str, limit: int, agents: Collection[str] | None) -> list[SimilarRun]:
        """The other runs most like that one, as `like_text`. Raises `SimilarError` or `UnknownRun`."""
        found = await self._nearest(str(UUID(run)), limit + 1, agents)
        return [one for one in found if one.id != run][:limit]

    async def _nearest(
        self, question: list[float] | str, limit: int, agents: Collection[str] | None
    ) -> list[SimilarRun]:
        body: dict[str, Any] = {"query": question, "limit": limit, "with_payload": True}
        if agents is not None:
            body["filter"] = {"must": [{"key": "agent", "match": {"any": sorted(agents)}}]}
        status, answer = await self._ask("POST", "/points/query", body)
        if status == 404:
            # The collection is made with the first run; a point that is missing is asked for by its id.
            if isinstance(question, str):
                raise UnknownRun
            return []
        if status != 200:
            raise self._failed(f"Qdrant answered {status}")
        try:
            # {"result": {"points": [{"id": "5f0c…", "version": 3, "score": 0.87, "payload": {…}}]}, "status": "ok"}
            return [
                SimilarRun(id=UUID(str(point["id"])).hex, score=round(point["score"], 4), **point["payload"])
                for point in answer["result"]["points"]
            ]
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise self._failed("Qdrant answered with something else") from error

    async def _store(self, record: RunRecord, asked: str) -> None:
        assert record.output is not None
        vector = await self._embed(f"{asked}\n\n{record.output}")
        payload = {
            "agent": record.agent,
            "model": record.model,
            "ended": record.ended,
            "excerpt": record.output[:EXCERPT_CHARACTERS],
            "at": int(time.time()),
        }
        points = {"points": [{"id": str(UUID(record.id)), "vector": vector, "payload": payload}]}
        status, _ = await self._ask("PUT", "/points?wait=true", points)
        if status == 404:
            await self._create(len(vector))
            status, _ = await self._ask("PUT", "/points?wait=true", points)
        if status != 200:
            raise self._failed(f"Qdrant answered {status}")
        await self._prune()

    async def _create(self, size: int) -> None:
        status, _ = await self._ask("PUT", "", {"vectors": {"size": size, "distance": "Cosine"}})
        # Another replica may have been first.
        if status not in (200, 409):
            raise self._failed(f"Qdrant answered {status} when the collection was to be made")

    async def _prune(self) -> None:
        if self._pruned_at is not None and time.monotonic() - self._pruned_at < PRUNE_SECONDS:
            return
        old = {"must": [{"key": "at", "range": {"lt": int(time.time()) - self._keep_seconds}}]}
        await self._ask("POST", "/points/delete", {"filter": old})
        self._pruned_at = time.monotonic()

    async def _embed(self, text: str) -> list[float]:
        try:
            return await self._embedder.embed(text)
        except EmbeddingError as error:
            raise self._failed(str(error)) from error

    async def _ask(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self._client is None:
            raise SimilarError(self.problem)
        try:
            answer = await self._client.request(method, f"/collections/{self._collection}{path}", json=body)
            # A refusal may be plain text.
            document = answer.json() if answer.status_code == 200 else None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise self._failed(f"Qdrant: {error_line(error)}") from error
        if answer.status_code in (200, 404, 409):
            self.problem = None
        return answer.status_code, document

    def _failed(self, problem: str) -> SimilarError:
        self.problem = problem
        return SimilarError(problem)
