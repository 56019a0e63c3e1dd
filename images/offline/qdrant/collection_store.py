"""Collections on disk, one engine shard each: the JSON of Qdrant's REST API in, its results out. No HTTP here."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import qdrant_edge as edge
from filters import BadInput, as_object, need, to_filter, to_point_id

NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Euclid": edge.Distance.Euclid,
    "Dot": edge.Distance.Dot,
    "Manhattan": edge.Distance.Manhattan,
}
MAX_VECTOR_SIZE = 65_536
MAX_LIMIT = 10_000

Json = dict[str, Any]


class NotFound(Exception):
    """No such collection or point."""


class Conflict(Exception):
    """The collection exists already."""


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turns what the engine refuses into `BadInput`."""
    # The engine raises a bare `Exception` for what a caller got wrong, and TypeError, ValueError or OverflowError
    # where a JSON value does not convert. "Service runtime error: ..." is its own trouble (a full disk), and any
    # other type is a fault of ours: both must be seen.
    try:
        yield
    except Exception as error:
        message = str(error).partition("\n")[0]
        if type(error) not in (Exception, TypeError, ValueError, OverflowError) or message.startswith("Service"):
            raise
        raise BadInput(f"Wrong input: {message}") from error


class CollectionStore:
    """All collections under `root`. One operation at a time: the engine is fast, and a stand-in is never busy."""

    def __init__(self, root: Path) -> None:
        # Apart from where the real server keeps its collections: it could not read these.
        self._root = root / "stand-in"
        self._lock = threading.Lock()
        self._shards: dict[str, edge.EdgeShard] = {}
        self._operations = 0
        self._root.mkdir(parents=True, exist_ok=True)
        for folder in sorted(self._root.iterdir()):
            if folder.name.startswith("."):
                # A creation or a removal that a crash cut short.
                shutil.rmtree(folder)
            else:
                self._shards[folder.name] = edge.EdgeShard.load(str(folder))

    def close(self) -> None:
        with self._lock:
            for shard in self._shards.values():
                shard.flush()
                shard.close()
            self._shards.clear()

    def list_collections(self) -> Json:
        with self._lock:
            return {"collections": [{"name": name} for name in sorted(self._shards)]}

    def exists(self, name: str) -> Json:
        with self._lock:
            return {"exists": name in self._shards}

    def create(self, name: str, body: Json) -> bool:
        config = edge.EdgeConfig(vectors=_vector_params(body.get("vectors")), max_search_threads=1)
        if not NAME.fullmatch(name):
            raise BadInput(f"Wrong input: collection name {name[:80]!r} may hold letters, digits, '-' and '_' only")
        with self._lock:
            if name in self._shards:
                raise Conflict(f"Collection `{name}` already exists!")
            # Made aside and renamed, so that a crash leaves a whole collection or none.
            unfinished = self._root / f".creating-{name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            shard = edge.EdgeShard.create(str(unfinished), config)
            shard.flush()
            shard.close()
            unfinished.rename(self._root / name)
            self._shards[name] = edge.EdgeShard.load(str(self._root / name))
        return True

    def drop(self, name: str) -> bool:
        with self._lock:
            shard = self._shards.pop(name, None)
            if shard is None:
                return False
            shard.close()
            doomed = self._root / f".removing-{name}"
            (self._root / name).rename(doomed)
            shutil.rmtree(doomed)
        return True

    def describe(self, name: str) -> Json:
        with self._shard(name) as shard:
            info = shard.info()
            return {
                "status": "green",
                "optimizer_status": "ok",
                "points_count": info.points_count,
                "indexed_vectors_count": info.indexed_vectors_count,
                "segments_count": info.segments_count,
                "config": {"params": {"vectors": _described_vectors(self._root / name)}},
                "payload_schema": {},
            }

    def upsert(self, name: str, body: Json) -> Json:
        points = [
            edge.Point(to_point_id(need(point, "id")), need(point, "vector"), point.get("payload") or {})
            for point in _as_points(need(body, "points"))
        ]
        return self._update(name, edge.UpdateOperation.upsert_points(points))

    def delete(self, name: str, body: Json) -> Json:
        if (matching := to_filter(body.get("filter"))) is not None:
            operation = edge.UpdateOperation.delete_points_by_filter(matching)
        else:
            ids = [to_point_id(value) for value in _as_points(need(body, "points"))]
            operation = edge.UpdateOperation.delete_points(ids)
        return self._update(name, operation)

    def retrieve(self, name: str, body: Json) -> list[Json]:
        ids = [to_point_id(value) for value in _as_points(need(body, "ids"))]
        with self._shard(name) as shard:
            return [
                _record(record)
                for record in shard.retrieve(ids, body.get("with_payload", True), body.get("with_vector", False))
            ]

    def retrieve_one(self, name: str, point: int | str) -> Json:
        with self._shard(name) as shard:
            records = shard.retrieve([to_point_id(point)], True, True)
        if not records:
            raise NotFound(f"Point with id {point} does not exists!")
        return _record(records[0])

    def search(self, name: str, body: Json) -> list[Json]:
        vector, using = need(body, "vector"), None
        if isinstance(vector, dict):
            vector, using = need(vector, "vector"), vector.get("name")
        return self._nearest(name, vector, using, body)

    def query(self, name: str, body: Json) -> Json:
        question, using = body.get("query"), body.get("using")
        if isinstance(question, dict):
            question = need(question, "nearest")
        if question is None:
            return {"points": self.scroll(name, body)["points"]}
        if isinstance(question, int | str):
            with self._shard(name) as shard:
                records = shard.retrieve([to_point_id(question)], False, True)
            if not records:
                raise NotFound(f"Point with id {question} does not exists!")
            vector = records[0].vector
            question = vector.get(using or "") if isinstance(vector, dict) else vector
        return {"points": self._nearest(name, question, using, body)}

    def scroll(self, name: str, body: Json) -> Json:
        offset = body.get("offset")
        with self._shard(name) as shard:
            records, following = shard.scroll(
                edge.ScrollRequest(
                    offset=None if offset is None else to_point_id(offset),
                    limit=_limit(body),
                    filter=to_filter(body.get("filter")),
                    with_payload=body.get("with_payload", True),
                    with_vector=body.get("with_vector", False),
                )
            )
        return {"points": [_record(record) for record in records], "next_page_offset": _plain_id(following)}

    def count(self, name: str, body: Json) -> Json:
        with self._shard(name) as shard:
            return {"count": shard.count(edge.CountRequest(True, to_filter(body.get("filter"))))}

    def _nearest(self, name: str, vector: Any, using: str | None, body: Json) -> list[Json]:
        with self._shard(name) as shard:
            hits = shard.search(
                edge.SearchRequest(
                    edge.Query.Nearest(vector, using),
                    _limit(body),
                    body.get("offset"),
                    to_filter(body.get("filter")),
                    with_vector=body.get("with_vector", False),
                    with_payload=body.get("with_payload", False),
                    score_threshold=body.get("score_threshold"),
                )
            )
        return [{**_record(hit), "version": hit.version, "score": hit.score} for hit in hits]

    def _update(self, name: str, operation: edge.UpdateOperation) -> Json:
        with self._shard(name) as shard:
            shard.update(operation)
            shard.flush()
            self._operations += 1
            return {"operation_id": self._operations, "status": "completed"}

    @contextmanager
    def _shard(self, name: str) -> Iterator[edge.EdgeShard]:
        with self._lock:
            if name not in self._shards:
                raise NotFound(f"Collection `{name}` doesn't exist!")
            yield self._shards[name]


def _vector_params(value: Any) -> edge.EdgeVectorParams | dict[str, edge.EdgeVectorParams]:
    vectors = as_object(value, "`vectors`")
    if "size" in vectors:
        return _one_vector_params(vectors)
    if not vectors:
        raise BadInput("Wrong input: at least one vector is needed")
    return {name: _one_vector_params(params) for name, params in vectors.items()}


def _one_vector_params(params: Any) -> edge.EdgeVectorParams:
    size, distance = need(params, "size"), need(params, "distance")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_VECTOR_SIZE:
        raise BadInput(f"Wrong input: vector size {str(size)[:40]} must be from 1 to {MAX_VECTOR_SIZE}")
    if not isinstance(distance, str) or distance not in DISTANCES:
        raise BadInput(f"Wrong input: unknown distance, expected one of {', '.join(DISTANCES)}")
    return edge.EdgeVectorParams(size, DISTANCES[distance])


def _described_vectors(folder: Path) -> Json:
    # The default vector goes under the empty name in the engine's file, and without a name in Qdrant's answer.
    vectors: Json = json.loads((folder / "edge_config.json").read_text())["vectors"]
    default: Json | None = vectors.get("")
    return vectors if default is None else default


def _as_points(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise BadInput("Wrong input: a list with at least one point is needed")
    return value


def _limit(body: Json) -> int:
    limit = body.get("limit", 10)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"Wrong input: limit {str(limit)[:40]} must be from 1 to {MAX_LIMIT}")
    return limit


def _record(record: edge.Record | edge.ScoredPoint) -> Json:
    found: Json = {"id": _plain_id(record.id)}
    if record.payload is not None:
        found["payload"] = record.payload
    if record.vector is not None:
        found["vector"] = record.vector
    return found


def _plain_id(value: Any) -> int | str | None:
    return str(value) if isinstance(value, UUID) else value
