"""Secrets: their keys, what each opens, and where they come from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from catalog import PROVIDERS, SERVICES
from errors import ConfigError
from settings.config import VARIABLES

# Each secret's key, and what it is.
SECRET_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "grafanaPassword": "The password of Grafana's administrator, `admin`.",
        "gatewayTokens": "Bearer tokens of the application's API, as `NAME:TOKEN` or `TOKEN`, separated by spaces, of "
        "at least 16 characters each.",
        "embeddingsKey": "The key to the endpoint `PROMPTCRAFT_EMBEDDINGS_URL`.",
        "qdrantApiKey": "Qdrant's API key.",
        "redisPassword": "Redis's password. A login in `REDIS_URL` counts if this is not set.",
        "zenMcpToken": "Zen MCP's bearer token.",
        "perplexityApiKey": "The key of the MCP server `perplexity`.",
        "upstashRedisRestToken": "The token of the Redis at `UPSTASH_REDIS_REST_URL`.",
        "sentryAuthToken": "The token of the MCP server `sentry`.",
        **{
            provider.secret_key: f"{provider.title}'s key, for its models. The application and Zen MCP get it."
            for provider in PROVIDERS.values()
        },
        "modelsKey": "The key of your own model server, as far as the environment, `.env` or a pin names the server.",
        "tlsKey": "The private key to `tlsCertificate`, unencrypted PEM. It may also be the name of a file.",
    }
)

# Which of the services each secret opens.
OPENS = {service.secret_key: service.name for service in SERVICES.values() if service.secret_key} | {
    # Redis over REST, at Upstash.
    "upstashRedisRestToken": "upstash",
}

# Where a preview names what it was given of its own making: as `generated` does, apart by spaces.
GENERATED_VARIABLE = "PROMPTCRAFT_GENERATED"


@dataclass(frozen=True)
class Secret:
    """A secret and, for a login, its user name. Neither is ever printed.

    `is_own` when it was generated: it opens what this stack runs, and nobody else is ever shown it.
    """

    value: str = field(repr=False)
    username: str | None = field(default=None, repr=False)
    is_own: bool = False


def fingerprint(secret: str) -> str:
    """What tells a generated secret from one that a person set; it is too random to be guessed back from this."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:32]}"


def secrets_of(
    configured: Mapping[str, str], environment: Mapping[str, str], file: str, generated: Collection[str]
) -> dict[str, Secret]:
    """Secrets by the service they open; the stack's own win over the environment's."""
    found = {key: environment[variable] for variable, key in VARIABLES.items() if environment.get(variable)}
    if names_another_openai(environment):
        found.pop(PROVIDERS["openai"].secret_key, None)
    keys = {key: value for key, value in found.items() if key in SECRET_KEYS} | dict(configured)
    secrets = {key: Secret(value, is_own=fingerprint(value) in generated) for key, value in keys.items() if value}
    if "gatewayTokens" in secrets:
        where = file if configured.get("gatewayTokens") else "environment: GATEWAY_TOKENS"
        _check_tokens(secrets["gatewayTokens"].value.split(), where)
    for key, service in OPENS.items():
        if key in secrets:
            secrets[service] = secrets.pop(key)
    if "redis" not in secrets and (login := _redis_login(environment.get("REDIS_URL", ""))):
        secrets["redis"] = login
    return secrets


def names_another_openai(environment: Mapping[str, str]) -> bool:
    """Whether `OPENAI_BASE_URL` names another server than OpenAI's own.

    `OPENAI_API_KEY` is then that server's key or a word that stands for none, as OpenAI's clients read the two, and
    goes to nobody.
    """
    url = environment.get("OPENAI_BASE_URL", "").strip()
    try:
        return bool(url) and urlsplit(url).hostname != PROVIDERS["openai"].host
    except ValueError:
        return True


# The container knows a token by a hash that is quick to compute: a short one could be guessed back from it.
_SHORTEST_TOKEN = 16


# What the application calls who has no token, and a token that has no name.
ANYBODY, UNNAMED = "anybody", "unnamed"
_TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def token_names(tokens: str) -> list[str | None]:
    """The name of each of `tokens`, `NAME:TOKEN` or `TOKEN` and apart by white space; None where one has none."""
    # No bearer token has a colon (RFC 6750, 2.1).
    return [word.rpartition(":")[0] or None for word in tokens.split()]


def _check_tokens(words: list[str], where: str) -> None:
    for number, word in enumerate(words, start=1):
        name, colon, token = word.rpartition(":")
        # Neither is shown: what stands before the colon may be the token, where somebody took one for the other.
        if colon and (not _TOKEN_NAME.fullmatch(name) or name in (ANYBODY, UNNAMED)):
            raise ConfigError(
                f"{where}: gatewayTokens: token {number} of {len(words)} has a name that none can have; write "
                f"NAME:TOKEN, with letters, digits and ._@- in the name, at most 64, and not {ANYBODY} or {UNNAMED}"
            )
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
            raise ConfigError(
                f"{where}: gatewayTokens: token {number} of {len(words)} is shorter than {_SHORTEST_TOKEN} "
                "characters or not plain ASCII; make one: openssl rand -hex 24"
            )


def _redis_login(url: str) -> Secret | None:
    """The login inside `redis://user:password@host`; a malformed URL is discovery's to report."""
    try:
        parts = urlsplit(url.strip())
        password, username = parts.password, parts.username
    except ValueError:
        return None
    return Secret(unquote(password), unquote(username) if username else None) if password else None
