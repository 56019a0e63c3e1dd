"""Which model stands for what an agent says, and what serves it. Pure.

The stack's own `models` comes first, then the defaults of the first provider that has a key, then the model server that
was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from catalog import LOCAL, MODELS, PROVIDERS
from discovery.report import Finding, Report, Verdict
from planning.plan import Decision, LocalModels, Models, Relay, Reuse, secret_of
from planning.reachable import title_of
from settings import StackSettings, names_another_openai

# What an agent gets that says nothing, or to take the model of whoever asks.
DEFAULT = "default"
INHERIT = "inherit"

# What agents say is Claude Code's: its sizes, from the largest. As of 2026-11-27, looked up in:
#   anthropic   platform.claude.com/docs/en/models (overview; model IDs and versioning)
#   openai      developers.openai.com/api/docs/models
#   google      ai.google.dev/gemini-api/docs/latest-model, docs.cloud.google.com (guide to Gemini 3.8 Flash); its
#               larger model is a preview, which may be gone next month
#   openrouter  openrouter.ai/anthropic/claude-fable-5.2 and its neighbours
#   xai         docs.x.ai/developers/grok-4-7
DEFAULTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "anthropic": {
            "fable": "claude-fable-5-2",
            "opus": "claude-opus-5-5",
            "sonnet": "claude-sonnet-5-5",
            "haiku": "claude-haiku-5-5",
            DEFAULT: "claude-sonnet-5-5",
        },
        "openai": {
            "fable": "gpt-6-astra",
            "opus": "gpt-6.1-sol",
            "sonnet": "gpt-6.1-terra",
            "haiku": "gpt-6-luna",
            DEFAULT: "gpt-6.1-terra",
        },
        "google": {
            "fable": "gemini-3.8-flash",
            "opus": "gemini-3.8-flash",
            "sonnet": "gemini-3.8-flash",
            "haiku": "gemini-3.5-flash-lite",
            DEFAULT: "gemini-3.8-flash",
        },
        "openrouter": {
            "fable": "anthropic/claude-fable-5.2",
            "opus": "anthropic/claude-opus-5.5",
            "sonnet": "anthropic/claude-sonnet-5.5",
            "haiku": "anthropic/claude-haiku-5.5",
            DEFAULT: "anthropic/claude-sonnet-5.5",
        },
        "xai": {
            "fable": "grok-4.7",
            "opus": "grok-4.7",
            "sonnet": "grok-4.7",
            "haiku": "grok-4.7",
            DEFAULT: "grok-4.7",
        },
    }
)

# In the names of models that do not chat.
_OTHER_TRADES = ("embed", "rerank", "whisper", "tts")
_MAX_LISTED = 10


@dataclass(frozen=True)
class ModelsChoice:
    """The models of a plan, what a person should hear of them, and what stands against them."""

    models: Models
    notices: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def models_of(decision: Decision, report: Report, settings: StackSettings) -> ModelsChoice:
    """The models, with what was decided on the model server."""
    local = _local(decision, report, settings)
    providers = {
        name: provider.secret_key for name, provider in PROVIDERS.items() if provider.secret_key in settings.secrets
    }
    configured = dict(settings.config.models)
    if INHERIT in configured:
        configured.setdefault(DEFAULT, configured[INHERIT])
    names = {**_defaults(local, providers, configured), **configured}
    usable = any(_serves(target, local, providers) for target in names.values())
    problem = None if usable else _nothing(report, settings)
    return ModelsChoice(
        Models(local=local, providers=providers, names=names, problem=problem),
        notices=tuple(_notices(configured, local, providers, problem, settings)),
        problems=tuple(_unknown(configured, local, settings)),
    )


def _local(decision: Decision, report: Report, settings: StackSettings) -> LocalModels | None:
    if not isinstance(decision, Reuse | Relay):
        return None
    secret = secret_of(MODELS.name, decision)
    return LocalModels(
        endpoint=decision.endpoint,
        host=decision.known_as,
        title=_title(decision, report),
        names=decision.holds or (),
        secret=secret if decision.named and secret in settings.secrets else None,
    )


def _title(decision: Reuse | Relay, report: Report) -> str:
    found = report.services[MODELS.name].findings if MODELS.name in report.services else ()
    here = (one for one in found if one.candidate.endpoint == decision.host_endpoint)
    return next((title_of(MODELS.name, one) for one in here if one.verdict is Verdict.VERIFIED), MODELS.title)


def _defaults(local: LocalModels | None, providers: Mapping[str, str], configured: Mapping[str, str]) -> dict[str, str]:
    for provider in providers:
        return {word: f"{provider}:{model}" for word, model in DEFAULTS[provider].items()}
    model = configured.get(DEFAULT) or (f"{LOCAL}:{_chats(local)}" if local and local.names else None)
    return dict.fromkeys(DEFAULTS["anthropic"], model) if model else {}


def _chats(local: LocalModels) -> str:
    """The server's first model that is made for chat, as far as its name tells."""
    chatting = (name for name in local.names if not any(word in name.lower() for word in _OTHER_TRADES))
    return next(chatting, local.names[0])


def _serves(target: str, local: LocalModels | None, providers: Mapping[str, str]) -> bool:
    provider = target.partition(":")[0]
    return local is not None if provider == LOCAL else provider in providers


def _unknown(configured: Mapping[str, str], local: LocalModels | None, settings: StackSettings) -> Iterator[str]:
    """Models that are named and that the server which was found does not have."""
    for word, target in configured.items():
        provider, _, model = target.partition(":")
        if provider != LOCAL or local is None or model in local.names:
            continue
        has = ", ".join(local.names[:_MAX_LISTED]) + (", …" if len(local.names) > _MAX_LISTED else "")
        yield (
            f"Pulumi.{settings.stack}.yaml: models.{word}: {target!r}: {local.title} has no such model; "
            f"name one that it has ({has or 'none'}), or give it that one"
        )


def _notices(
    configured: Mapping[str, str],
    local: LocalModels | None,
    providers: Mapping[str, str],
    problem: str | None,
    settings: StackSettings,
) -> Iterator[str]:
    key = PROVIDERS["openai"]
    if settings.environment.get(key.variable) and names_another_openai(settings.environment):
        yield (
            f"models: {key.variable} is shown to nobody, for OPENAI_BASE_URL names another server than OpenAI's; "
            "a key to that server is CUSTOM_API_KEY, one to OpenAI the stack's secret openaiApiKey"
        )
    for word, target in configured.items():
        provider = target.partition(":")[0]
        if _serves(target, local, providers):
            continue
        if provider == LOCAL:
            yield f"models.{word}: {target} has nobody to serve it: no model server was found"
        else:
            yield f"models.{word}: {target} needs a key; set {PROVIDERS[provider].variable} in .env"
    if problem:
        yield problem


def _nothing(report: Report, settings: StackSettings) -> str:
    """What to set or start so that agents have a model, in one sentence."""
    found = report.services[MODELS.name].findings if MODELS.name in report.services else ()
    almost = next((one for one in found if one.verdict in (Verdict.UNHEALTHY, Verdict.AUTH_REQUIRED)), None)
    offered = next((one for one in found if one.offered), None)
    others = ", ".join(provider.variable for provider in list(PROVIDERS.values())[1:])
    keys = f"set {PROVIDERS['anthropic'].variable} (or one of {others}) in .env"
    if almost is not None:
        return f"agents have no model: {_seen(almost)}; mend that, or {keys}"
    if offered is not None:
        pin = f"pulumi config set --stack {settings.stack} --path 'pin.{MODELS.name}' {offered.candidate.endpoint}"
        return f"agents have no model: {offered.candidate.endpoint} is there, but nobody named it: {pin}; or {keys}"
    if MODELS.name in settings.config.use_if_named or settings.config.environment == "production":
        return f"agents have no model: {keys}, or {MODELS.variables[0]} to where a model server runs"
    return f"agents have no model: {keys}, or start a model server such as Ollama"


def _seen(finding: Finding) -> str:
    return f"{finding.candidate.endpoint} is {finding.verdict.value}: {finding.reason}"
