"""Which model an agent means: what its definition says, resolved by the plan to `provider:model`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.plan import Models

# What `names` maps for agents that say nothing, or to take the model of whoever asks.
DEFAULT = "default"
_NONE_SAID = frozenset({"", "inherit", DEFAULT})
NO_MODEL = "no model is configured: start a local model server, such as Ollama, or set a provider's key, then deploy"

# Claude Code's `opus[1m]`: a wish about the context, not another model.
_SUFFIX = re.compile(r"\[[^\[\]]*\]$")
# Claude Code's other words: the most capable model, and opus for planning but sonnet otherwise
# (code.claude.com/docs/en/model-config, 2026-11-28). Nobody plans here.
_STANDS_FOR = {"best": "fable", "opusplan": "sonnet"}
_FULL_IDS = (
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gpt-|o[0-9]"), "openai"),
    (re.compile(r"gemini-"), "google"),
    (re.compile(r"grok-"), "xai"),
    (re.compile(r"[^/]+/."), "openrouter"),
)
KEYS = {
    "anthropic": "anthropicApiKey",
    "openai": "openaiApiKey",
    "google": "geminiApiKey",
    "openrouter": "openrouterApiKey",
    "xai": "xaiApiKey",
}
LOCAL = "local"
_SHOWN_NAMES = 20


class UnknownModel(Exception):
    """No model can be had under that name; the text is one line that says which can."""


@dataclass(frozen=True)
class ModelId:
    """A model and who has it. Printed as `provider:model`."""

    provider: str
    name: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.name}"


def said(model: str | None) -> str:
    """What an agent says as its model, without a suffix; `default` where it says nothing."""
    bare = _SUFFIX.sub("", model or "").strip()
    return DEFAULT if bare.lower() in _NONE_SAID else bare


def resolve(model: str | None, models: Models) -> ModelId:
    """The model for what an agent says. Raises `UnknownModel`."""
    name = said(model)
    if not models.names and not models.providers and models.local is None:
        raise UnknownModel(models.problem or NO_MODEL)
    by_word = {key.lower(): target for key, target in models.names.items()}
    mapped = by_word.get(name.lower(), by_word.get(_STANDS_FOR.get(name.lower(), "")))
    if mapped is not None:
        return _available(_split(mapped) or ModelId(LOCAL, mapped), models, f"model {name!r}")
    if name == DEFAULT:
        raise UnknownModel(f"no default model is set; set models.default. {listed(models)}")
    if (whole := _split(name)) is not None:
        return _available(whole, models, f"model {name!r}")
    # First, since LiteLLM and Ollama list names that others have too: what the server lists is that server's.
    if models.local is not None and name in models.local.names:
        return ModelId(LOCAL, name)
    for pattern, provider in _FULL_IDS:
        if pattern.match(name):
            return _available(ModelId(provider, name), models, f"model {name!r}")
    raise UnknownModel(f"model {name!r} is not known. {listed(models)}")


def listed(models: Models) -> str:
    """What there is, in one sentence or two."""
    names = f"Names that agents can say: {', '.join(sorted(models.names)) or 'none'}"
    parts = [names, f"providers with a key: {', '.join(sorted(models.providers)) or 'none'}"]
    if models.local is not None:
        there = models.local.names
        more = f" and {len(there) - _SHOWN_NAMES} more" if len(there) > _SHOWN_NAMES else ""
        parts.append(f"{models.local.title} has {', '.join(there[:_SHOWN_NAMES]) or 'no model'}{more}")
    return "; ".join(parts)


def _split(text: str) -> ModelId | None:
    # llama3.2:latest has a colon too, and is no provider's.
    provider, colon, name = text.partition(":")
    return ModelId(provider, name) if colon and name and provider in (LOCAL, *KEYS) else None


def _available(model: ModelId, models: Models, what: str) -> ModelId:
    if model.provider == LOCAL:
        if models.local is None:
            raise UnknownModel(f"{what} is {model}, and no local model server was found. {listed(models)}")
        if models.local.names and model.name not in models.local.names:
            raise UnknownModel(f"{what} is {model}, which {models.local.title} does not have. {listed(models)}")
    elif model.provider not in models.providers:
        raise UnknownModel(f"{what} needs the key {KEYS[model.provider]}, which is not set. {listed(models)}")
    return model
