"""Secrets that nobody should have to think up: where one is needed and none is set, it is generated.

Each is kept as the stack's own Pulumi secret, encrypted in its stack file, and so stays what it is from then on.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from errors import ConfigError
from operate.pulumi_command import PulumiCommand
from settings import VARIABLES, StackSettings

# Bytes of randomness; the text is a third longer.
_LENGTH = 24


def ensure_secrets(pulumi: PulumiCommand, settings: StackSettings) -> list[str]:
    """Generate what is missing; returns one line for each, which says how to see it.

    Raises `ConfigError` when Pulumi does not take one.
    """
    missing = _missing(pulumi, settings)
    for key in missing:
        # By stdin: an argument could be read in the list of processes.
        refused = pulumi.feed(secrets.token_urlsafe(_LENGTH), "config", "set", "--secret", key, "--stack", pulumi.stack)
        if refused is not None:
            raise ConfigError(f"Pulumi.{pulumi.stack}.yaml:1: {key}: cannot be set: {refused}; set it yourself")
    return [
        f"{key}: generated, and kept encrypted in Pulumi.{pulumi.stack}.yaml; "
        f"to see it: pulumi config get {key} --stack {pulumi.stack}"
        for key in missing
    ]


def secrets_to_preview_with(pulumi: PulumiCommand, settings: StackSettings) -> dict[str, str]:
    """Variables that let a preview plan with what `ensure_secrets` would generate, without writing anything."""
    return {_VARIABLE_OF[key]: secrets.token_urlsafe(_LENGTH) for key in _missing(pulumi, settings)}


_VARIABLE_OF = {key: variable for variable, key in VARIABLES.items()}


def _missing(pulumi: PulumiCommand, settings: StackSettings) -> list[str]:
    wanted = [key for key in _wanted(settings) if not settings.environment.get(_VARIABLE_OF[key])]
    return [key for key in wanted if not _is_set(pulumi, settings.project, key)]


def _wanted(settings: StackSettings) -> Iterator[str]:
    """The keys without which a service of the stack cannot start, or serves nobody."""
    if "grafana" in settings.wanted:
        yield "grafanaPassword"
    if settings.config.environment == "production" and "promptcraft" in settings.wanted:
        yield "gatewayTokens"


def _is_set(pulumi: PulumiCommand, project: str, key: str) -> bool:
    return f"{project}:{key}" in json.loads(pulumi.read("config", "--json", "--stack", pulumi.stack) or "{}")
