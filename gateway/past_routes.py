"""What went before, over HTTP: past runs by likeness, and the turns of a conversation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from gateway.access import CALLER, rights_of
from gateway.errors import ApiError
from gateway.rights import AGENTS
from gateway.run_routes import Text, refusals
from gateway.runs.sessions import Sessions, Turn
from gateway.runs.similar import SimilarError, SimilarRun, SimilarRuns, UnknownRun
from gateway.runs.stores import StoreError

MAX_QUERY_CHARACTERS = 2000

SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class SimilarFound(BaseModel):
    """`embedder` says how likeness is measured."""

    embedder: str
    runs: list[SimilarRun]


class Session(BaseModel):
    id: str
    turns: list[Turn]


def similar_routes(similar: SimilarRuns, agents: Collection[str]) -> APIRouter:
    """`agents` are those of the plan, among which a caller's rights choose."""
    router = APIRouter()

    @router.get(
        "/api/runs/similar",
        summary="Past runs like a text, or like another run",
        responses=refusals(401, 404, 422, 503),
    )
    async def find(
        request: Request,
        text: Annotated[Text | None, Query(min_length=1, max_length=MAX_QUERY_CHARACTERS)] = None,
        run: Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}$")] = None,
        limit: Annotated[int, Query(ge=1, le=50)] = 5,
    ) -> SimilarFound:
        rights = rights_of(request)
        seen = None if rights.allows_all_of(AGENTS) else {one for one in agents if rights.allows(AGENTS, one)}
        try:
            if text is not None and run is None:
                found = await similar.like_text(text, limit, seen)
            elif run is not None and text is None:
                found = await similar.like_run(run, limit, seen)
            else:
                raise ApiError(422, "invalid_request", "query: give either text or run")
        except UnknownRun as error:
            raise ApiError(404, "unknown_run", "no vector is kept of that run") from error
        except SimilarError as error:
            raise ApiError(503, "similar_unavailable", str(error)) from error
        return SimilarFound(embedder=similar.embedder, runs=found)

    return router


def session_routes(sessions: Sessions) -> APIRouter:
    router = APIRouter()

    @router.get("/api/sessions/{session}", summary="A conversation's turns", responses=refusals(401, 404, 422, 503))
    async def get(session: SessionId, request: Request) -> Session:
        try:
            turns = await sessions.get(request.scope["state"][CALLER], session)
        except StoreError as error:
            raise _sessions_unavailable(error) from error
        if not turns:
            raise ApiError(404, "unknown_session", "there is no such session, or it is too long ago")
        return Session(id=session, turns=turns)

    @router.delete(
        "/api/sessions/{session}",
        summary="Forget a conversation",
        status_code=204,
        responses=refusals(401, 422, 503),
    )
    async def forget(session: SessionId, request: Request) -> None:
        try:
            await sessions.forget(request.scope["state"][CALLER], session)
        except StoreError as error:
            raise _sessions_unavailable(error) from error

    return router


def _sessions_unavailable(error: StoreError) -> ApiError:
    return ApiError(503, "sessions_unavailable", f"sessions are kept in Redis, which does not answer: {error}")
