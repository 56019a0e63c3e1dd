"""Every provider: its own address, and what makes a model of it. The libraries are loaded when a run wants them.

Loading takes seconds of a small machine and tens of MiB, so that a gateway at rest has none of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx2

from gateway.models import wire
from gateway.models.names import KEYS, LOCAL, ModelId
from gateway.outbound import error_line
from gateway.plan import Models

if TYPE_CHECKING:
    from pydantic_ai.models import Model

# Each from the provider's own documentation.
ADDRESSES = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "google": "https://generativelanguage.googleapis.com",
    "openrouter": "https://openrouter.ai/api/v1",
    "xai": "https://api.x.ai/v1",
}
_LIBRARIES = {
    "anthropic": ("pydantic_ai.models.anthropic", "pydantic_ai.providers.anthropic"),
    "google": ("pydantic_ai.models.google", "pydantic_ai.providers.google"),
}
_OPENAI_LIBRARIES = ("pydantic_ai.models.openai", "pydantic_ai.providers.openai_compatible")


class ProviderError(Exception):
    """A provider can't be asked; the text is one line, without a secret."""


class Providers:
    """Those of the plan. `problems` says which refused their key, by name, until they take it."""

    def __init__(self, models: Models, seconds: float) -> None:
        self._models = models
        self._seconds = seconds
        self._clients: dict[tuple[str, bool], httpx2.AsyncClient] = {}
        self.problems: dict[str, str] = {}

    async def model(self, wanted: ModelId) -> Model:
        """The model, with the key that its file holds now. Raises `ProviderError`."""
        key = self.key(wanted.provider)
        build: Callable[..., Model] = await asyncio.to_thread(_load, wanted.provider)
        try:
            return build(wanted, self._address(wanted.provider), key, self._client(wanted.provider, key))
        except Exception as error:
            # A library that knows the provider's models may turn a name down.
            raise ProviderError(f"{wanted}: {error_line(error)}") from error

    def key(self, provider: str) -> str | None:
        """What the credential file holds now, None where there is none to hold. Raises `ProviderError`."""
        known = self._models.local if provider == LOCAL else self._models.providers.get(provider)
        file = known.credential if known is not None else None
        if file is None:
            return None
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderError(f"the key to {provider} can't be read: {error_line(error)}") from error
        if not key and provider != LOCAL:
            raise ProviderError(f"the key to {provider} is empty; set {KEYS[provider]} and deploy again")
        return key or None

    def refused(self, provider: str) -> str:
        """Remembers that the key was refused; the sentence to say."""
        which = f" ({KEYS[provider]})" if provider in KEYS else ""
        self.problems[provider] = f"{provider} refuses the configured key{which}; set a valid one and deploy again"
        return self.problems[provider]

    def accepted(self, provider: str) -> None:
        self.problems.pop(provider, None)

    async def close(self) -> None:
        await asyncio.gather(*(client.aclose() for client in self._clients.values()))

    def _address(self, provider: str) -> str:
        if provider != LOCAL:
            return ADDRESSES[provider]
        assert self._models.local is not None
        return self._models.local.endpoint

    def _client(self, provider: str, key: str | None) -> httpx2.AsyncClient:
        kind = (provider, key is not None)
        if kind not in self._clients:
            host = self._models.local.host if provider == LOCAL and self._models.local else None
            self._clients[kind] = wire.client(
                self._address(provider), has_key=kind[1], host=host, seconds=self._seconds
            )
        return self._clients[kind]


def _load(provider: str) -> Callable[..., Model]:
    for name in ("pydantic_ai", *_LIBRARIES.get(provider, _OPENAI_LIBRARIES)):
        import_module(name)
    return {"anthropic": _anthropic, "google": _google, "openai": _openai, "openrouter": _openrouter}.get(
        provider, _compatible
    )


def _anthropic(wanted: ModelId, address: str, key: str, http: httpx2.AsyncClient) -> Model:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(base_url=address, api_key=key, auth_token=None, http_client=http, max_retries=0)
    return AnthropicModel(wanted.name, provider=AnthropicProvider(anthropic_client=client))


def _google(wanted: ModelId, address: str, key: str, http: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    return GoogleModel(wanted.name, provider=GoogleProvider(api_key=key, base_url=address, http_client=http))


def _openai(wanted: ModelId, address: str, key: str, http: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
    from pydantic_ai.providers.openai import OpenAIProvider

    # Otherwise OpenAI keeps every answer for a month.
    settings = OpenAIResponsesModelSettings(openai_store=False)
    provider = OpenAIProvider(openai_client=_openai_client(address, key, http))
    return OpenAIResponsesModel(wanted.name, provider=provider, settings=settings)


def _openrouter(wanted: ModelId, address: str, key: str, http: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openrouter import OpenRouterModel
    from pydantic_ai.providers.openrouter import OpenRouterProvider

    return OpenRouterModel(wanted.name, provider=OpenRouterProvider(openai_client=_openai_client(address, key, http)))


def _compatible(wanted: ModelId, address: str, key: str | None, http: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    # The name is that of the price list: xAI is `x-ai` there, and no server of one's own is in it.
    name = {"xai": "x-ai"}.get(wanted.provider, wanted.provider)
    provider = OpenAICompatibleProvider(name, openai_client=_openai_client(address, key, http))
    return OpenAIChatModel(wanted.name, provider=provider)


def _openai_client(address: str, key: str | None, http: httpx2.AsyncClient) -> Any:
    from openai import AsyncOpenAI

    # The client wants a key; the wire drops what was made up.
    return AsyncOpenAI(base_url=address, api_key=key or "none", http_client=http, max_retries=0, timeout=http.timeout)
