"""Texts as vectors: what hashing can and can't tell apart, and an endpoint asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.runs.embedding import EmbeddingError, EndpointEmbedder, HashingEmbedder, Vector
from gateway.tests.conftest import http_answering


def hashed(text: str) -> Vector:
    return HashingEmbedder()._embed(text)


def likeness(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(hashed(one), hashed(other), strict=True))


# No deadline: the first example pays for imports, on a machine that may be busy.
@settings(deadline=None)
@given(st.text(max_size=300))
def test_every_text_has_a_vector_of_length_one_and_always_the_same(text: str) -> None:
    vector = asyncio.run(HashingEmbedder().embed(text))
    assert len(vector) == HashingEmbedder.SIZE
    assert math.isclose(math.hypot(*vector), 1)
    assert vector == hashed(text)


def test_likeness_is_overlap_of_wording() -> None:
    question = "How do Redis leases expire?"
    assert math.isclose(likeness(question, "how do redis LEASES expire"), 1)
    assert likeness(question, "expiring a lease in Redis") > 0.3
    assert abs(likeness(question, "Bake bread with sourdough")) < 0.2


def http(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status.encode(), len(body), body)


def ask(answer: bytes, key_file: Path | None = None) -> Vector:
    with http_answering(answer) as url:
        return asyncio.run(EndpointEmbedder(f"{url}/v1/embeddings", "small", key_file).embed("text"))


def test_an_endpoint_answers_as_openai_does(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-1\n")
    answer = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}], "model": "small"}
    assert ask(http("200 OK", json.dumps(answer).encode()), key) == [0.5, -1.0]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (http("401 Unauthorized", b'{"error": {"message": "sk-1 is wrong"}}'), "answered 401"),
        (http("302 Found", b""), "answered 302"),
        (http("200 OK", b'{"data": []}'), "something else"),
        (http("200 OK", b"<html>"), "something else"),
        (b"+PONG\r\n", "embeddings endpoint: "),
    ],
)
def test_what_is_no_embedding_is_one_line_without_the_key(answer: bytes, problem: str) -> None:
    with pytest.raises(EmbeddingError) as raised:
        ask(answer)
    assert problem in str(raised.value)
    assert "sk-1" not in str(raised.value)


def test_a_key_that_cannot_be_read_is_an_embedding_error(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="No such file"):
        ask(b"", tmp_path / "missing")
