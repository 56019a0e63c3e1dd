"""Texts as vectors: by hashing here, or by any OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from pathlib import Path
from typing import Protocol

import httpx2
from pydantic import BaseModel, Field, ValidationError

from gateway.outbound import error_line, http_client
from gateway.settings import Settings

# What is read of a text: bounds the time that hashing takes, and fits the 8191 tokens of common models.
MAX_CHARACTERS = 16_000
ENDPOINT_SECONDS = 15.0
WORD = re.compile(r"\w+")

Vector = list[float]


class EmbeddingError(Exception):
    """The text was not embedded; the text of the error is one line for people."""


class Embedder(Protocol):
    """`name` says which space the vectors are of: those of two names can't be compared."""

    @property
    def name(self) -> str: ...

    async def embed(self, text: str) -> Vector:
        """A vector of always the same length. Raises `EmbeddingError`."""
        ...


class HashingEmbedder:
    """Counts words and their letter trigrams in hashed places, and normalises: cosine is overlap of wording.

    Its limits: it knows no meaning. Texts that say the same in other words, or in another language, are strangers to
    it, and two words may share a place. It needs no model, no network and a few milliseconds a thousand words.
    """

    SIZE = 512
    name = f"hashing-{SIZE}"

    async def embed(self, text: str) -> Vector:
        return await asyncio.to_thread(self._embed, text[:MAX_CHARACTERS])

    def _embed(self, text: str) -> Vector:
        counts: dict[str, float] = {}
        for word in WORD.findall(text.casefold()):
            counts[word] = counts.get(word, 0.0) + 1.0
            # Parts of a word weigh less than the word, all of them together about the same.
            parts = [f"#{word[start : start + 3]}" for start in range(len(word) - 2)]
            for part in parts:
                counts[part] = counts.get(part, 0.0) + 1.0 / len(parts)
        vector = [0.0] * self.SIZE
        for token, count in counts.items():
            number = int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest())
            # A sign of its own for each token, so that those that share a place cancel out on average.
            vector[number % self.SIZE] += (1.0 if number >> 63 else -1.0) * math.log1p(count)
        # Cosine has no answer for a text without a single word; one place of its own is as good as any.
        length = math.hypot(*vector)
        return [value / length for value in vector] if length else [1.0] + [0.0] * (self.SIZE - 1)


class _Embedding(BaseModel):
    embedding: list[float] = Field(min_length=1)


class _Answer(BaseModel):
    data: list[_Embedding] = Field(min_length=1)


class EndpointEmbedder:
    """`POST {"model", "input"}` → `{"data": [{"embedding": […]}]}`, as OpenAI and many others have it.

    Source: https://platform.openai.com/docs/api-reference/embeddings
    """

    def __init__(self, url: str, model: str, key_file: Path | None) -> None:
        self.name = model
        self._url = url
        self._key_file = key_file

    async def embed(self, text: str) -> Vector:
        try:
            # Read anew, so that a rotated key needs no restart.
            key = self._key_file.read_text().strip() if self._key_file else ""
            headers = {"Authorization": f"Bearer {key}"} if key else None
            async with http_client(ENDPOINT_SECONDS, headers) as client:
                body = {"model": self.name, "input": text[:MAX_CHARACTERS]}
                answer = await client.post(self._url, json=body)
            if answer.status_code != 200:
                raise EmbeddingError(f"the embeddings endpoint answered {answer.status_code}")
            return _Answer.model_validate_json(answer.content).data[0].embedding
        except ValidationError as error:
            raise EmbeddingError("the embeddings endpoint answered with something else") from error
        except (httpx2.HTTPError, OSError) as error:
            raise EmbeddingError(f"the embeddings endpoint: {error_line(error)}") from error


def choose_embedder(settings: Settings) -> Embedder:
    if settings.embeddings_url is None:
        return HashingEmbedder()
    return EndpointEmbedder(str(settings.embeddings_url), settings.embeddings_model, settings.embeddings_key_file)
