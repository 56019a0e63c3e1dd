"""Secrets that nobody should have to think up: where one is needed and none is set, it is generated.

Each is kept as the stack's own Pulumi secret, encrypted in its stack file, and so stays what it is from then on.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from errors import ConfigError
from operate.pulumi_command import PulumiCommand
from settings import GENERATED_VARIABLE, OPENS, VARIABLES, StackSettings, fingerprint

# Bytes of randomness; the text is a third longer.
_LENGTH = 24


def ensure_secrets(pulumi: PulumiCommand, settings: StackSettings) -> list[str]:
    """Generate what is missing; returns one line for each, which says how to see it.

    Raises `ConfigError` when Pulumi does not take one.
    """
    missing = _missing(pulumi, settings)
    for key in missing:
        secret = secrets.token_urlsafe(_LENGTH)
        if key in _OFTEN_ELSEWHERE:
            # Before the secret itself, so that there is no moment in which it could pass for a person's own.
            _set(pulumi, key, fingerprint(secret), "--path", f"generated.{key}", "--plaintext")
        _set(pulumi, key, secret, "--secret", key)
    return [
        f"{key}: generated, and kept encrypted in {pulumi.files.own}; "
        f"to see it: pulumi config get {key} --stack {pulumi.stack}"
        for key in missing
    ]


def secrets_to_preview_with(pulumi: PulumiCommand, settings: StackSettings) -> dict[str, str]:
    """Variables that let a preview plan with what `ensure_secrets` would generate, without writing anything."""
    made = {key: secrets.token_urlsafe(_LENGTH) for key in _missing(pulumi, settings)}
    own = " ".join(fingerprint(secret) for key, secret in made.items() if key in _OFTEN_ELSEWHERE)
    return {_VARIABLE_OF[key]: secret for key, secret in made.items()} | ({GENERATED_VARIABLE: own} if own else {})


def _set(pulumi: PulumiCommand, key: str, value: str, *where: str) -> None:
    # By stdin: an argument could be read in the list of processes.
    refused = pulumi.feed(value, "config", "set", *where, "--stack", pulumi.stack)
    if refused is not None:
        raise ConfigError(f"{pulumi.files.own}:1: {key}: cannot be set: {refused}; set it yourself")


# Services that a stack may use of somebody else, who must never be shown what was generated here.
_OFTEN_ELSEWHERE = ("redisPassword", "qdrantApiKey")
_VARIABLE_OF = {key: variable for variable, key in VARIABLES.items()}


def _missing(pulumi: PulumiCommand, settings: StackSettings) -> list[str]:
    # `settings` are read without Pulumi, so these are the secrets of the environment, REDIS_URL's login among them.
    wanted = [key for key in _wanted(settings) if OPENS.get(key, key) not in settings.secrets]
    return [key for key in wanted if not _is_set(pulumi, settings.project, key)]


def _wanted(settings: StackSettings) -> Iterator[str]:
    """The keys without which a service of the stack cannot start, serves nobody, or serves anybody.

    Elsewhere than in production Redis and Qdrant stay open to the stack's network: other stacks share them, and the
    tools of whoever develops open Qdrant on the loopback, all of which a key would have to be carried to by hand.
    """
    if "grafana" in settings.wanted:
        yield "grafanaPassword"
    if settings.config.environment != "production":
        return
    if "promptcraft" in settings.wanted:
        yield "gatewayTokens"
    if "redis" in settings.declarable:
        yield "redisPassword"
    if "qdrant" in settings.declarable:
        yield "qdrantApiKey"


def _is_set(pulumi: PulumiCommand, project: str, key: str) -> bool:
    return f"{project}:{key}" in json.loads(pulumi.read("config", "--json", "--stack", pulumi.stack) or "{}")
