"""OpenAI's chat API (docs/fingerprints.md), whoever serves it: its list of models, and by whose marks it can be told.

Sources, as of 2026-11: docs.ollama.com (`/api/version`), lmstudio.ai/docs (`/api/v0/models`), llama.cpp's
tools/server/README.md (`/props`), docs.vllm.ai (`/version`; a key guards `/v1` only), docs.litellm.ai
(`/health/liveliness`, which wants no key).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from catalog import MODELS
from discovery.fingerprints.answer import (
    Answer,
    answers_everything,
    auth_required,
    impostor,
    not_the_service,
    read_json,
    read_object,
    read_version,
    stray,
    unhealthy,
    verified,
)
from discovery.request import Credential
from discovery.wire import Response, Wire, WireError
from reading.text import one_line

_MAX_MODELS = 1000
_MAX_LIST = 2 * 1024 * 1024  # bytes; gateways to many providers list hundreds of models with all that is known of them
_MAX_NAME = 200
_SHOWN = 3
_WANTS_A_KEY = (401, 403)
_MARKS = ("/api/version", "/api/v0/models", "/props", "/version", "/health/liveliness")


@dataclass(frozen=True)
class Product:
    """Which program serves: its name and version, as far as its marks tell."""

    title: str
    version: str | None = None

    @property
    def name(self) -> str:
        return f"{self.title} {self.version}" if self.version else self.title


def models_of(response: Response) -> tuple[str, ...] | None:
    """The names of the models in their server's order; None where the response is no list of models.

    A name that could not be written down (of a pattern, or with a comma or a control character in it) is left out.
    """
    # {"object": "list", "data": [{"id": "llama3.2:latest", "object": "model", "owned_by": "library"}]}
    entries = _entries(response)
    names = [name for entry in entries or [] if isinstance(name := entry.get("id"), str)]
    if entries is None or len(names) != len(entries):
        return None
    return tuple(dict.fromkeys(name for name in names if _is_usable(name)))


def _entries(response: Response) -> list[dict[str, object]] | None:
    document = read_object(response.body)
    if response.status != 200 or document.get("object") != "list":
        return None
    # Ollama without any model has null.
    data = document.get("data") if document.get("data", "") is not None else []
    if not isinstance(data, list):
        return None
    entries = [entry for entry in data if isinstance(entry, dict) and entry.get("object") == "model"]
    return entries if len(entries) == len(data) else None


def _is_usable(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME and name.isprintable() and name == name.strip() and not {",", "*"} & {*name}


async def identify(wire: Wire, credential: Credential | None) -> Answer:
    """Ask for the models, then for the marks of the programs that are known."""
    base = wire.place.path.removesuffix(MODELS.path)
    nowhere = stray(f"{base}/v1")
    async with wire.foreseeing(*(f"{base}{path}" for path in _MARKS), nowhere):
        return await _identify(wire, credential, base, nowhere)


async def _identify(wire: Wire, credential: Credential | None, base: str, nowhere: str) -> Answer:
    listed = await wire.ask("GET", f"{base}/v1/models", most=_MAX_LIST)
    names = models_of(listed)
    if names is None and listed.status not in _WANTS_A_KEY:
        return not_the_service(listed, "a model server")
    if names is not None and await answers_everything(wire, nowhere, listed):
        return impostor("has a list of models on every page")
    if listed.status == 403 and not listed.body.strip() and not listed.header("www-authenticate"):
        return unhealthy(
            "answers 403 without a word, as Ollama to a name that it does not serve; ask it by its address"
        )
    product = await _product(wire, base, listed)
    if names is None:
        return await _with_key(wire, base, product, credential)
    return _listing(product or Product(MODELS.title), names)


def _listing(product: Product, names: tuple[str, ...]) -> Answer:
    if not names:
        return replace(unhealthy(f"{product.name} has no model yet; give it one", product.version), title=product.title)
    shown = ", ".join(one_line(name, 40) for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    if len(names) > _MAX_MODELS:
        shown += f" ({_MAX_MODELS} of its {len(names)} models are kept)"
    names = names[:_MAX_MODELS]
    answer = verified(f"{product.name} with {shown}", product.version, holds=names)
    return replace(answer, title=product.title)


async def _with_key(wire: Wire, base: str, product: Product | None, credential: Credential | None) -> Answer:
    """The answer of what wants a key. The key goes to known marks, or to where a certificate vouches for the host."""
    if product is None and not wire.place.secure:
        return auth_required("wants a key before it says who it is")
    title = product.name if product else "it"
    if credential is None or credential.secret is None:
        return auth_required(f"{title} wants a key; set modelsKey, or CUSTOM_API_KEY in .env")
    headers = [("Authorization", f"Bearer {credential.secret}")]
    keyed = await wire.ask("GET", f"{base}/v1/models", headers, most=_MAX_LIST)
    names = models_of(keyed)
    if keyed.status in _WANTS_A_KEY:
        return auth_required(f"{title} refused the configured key")
    if names is None:
        return not_the_service(keyed, "a model server")
    return _listing(product or Product(MODELS.title), names)


async def _product(wire: Wire, base: str, listed: Response) -> Product | None:
    """Whose marks it bears; None where they are nobody's that is known."""
    ollama, lm_studio, props, vllm, alive = await asyncio.gather(*(_mark(wire, f"{base}{path}") for path in _MARKS))
    owners = {entry.get("owned_by") for entry in _entries(listed) or []}
    if read_json(alive.body) == "I'm alive!":
        # It tells its version to nobody without a key.
        return Product("LiteLLM")
    if version := read_version(read_object(ollama.body).get("version")):
        return Product("Ollama", version)
    if any("compatibility_type" in entry or "publisher" in entry for entry in _entries(lm_studio) or []):
        return Product("LM Studio")
    if "llamacpp" in owners or listed.header("server") == "llama.cpp":
        build = read_object(props.body).get("build_info")
        return Product("llama.cpp", one_line(build, 40) if isinstance(build, str) else None)
    version = read_version(read_object(vllm.body).get("version"))
    if "vllm" in owners or (listed.status in _WANTS_A_KEY and version):
        return Product("vLLM", version)
    return None


async def _mark(wire: Wire, path: str) -> Response:
    """The page at `path` where there is one. Not having one is what most servers do, each in its own way."""
    try:
        response = await wire.ask("GET", path)
    except WireError:
        return Response(0)
    return response if response.status == 200 else Response(response.status)
