"""Grafana has no default password: where none is set, one is generated and kept as the stack's own secret."""

from __future__ import annotations

import json
import secrets

from errors import ConfigError
from operate.pulumi_command import PulumiCommand
from settings import StackSettings

KEY = "grafanaPassword"
_VARIABLE = "GRAFANA_PASSWORD"
# Bytes of randomness; the text is a third longer.
_LENGTH = 24


def ensure_grafana_password(pulumi: PulumiCommand, settings: StackSettings) -> str | None:
    """Set a password where Grafana is part of the stack and has none; returns the line that says so.

    Raises `ConfigError` when Pulumi does not take it.
    """
    if not _is_missing(pulumi, settings):
        return None
    # By stdin: an argument could be read in the list of processes.
    refused = pulumi.feed(secrets.token_urlsafe(_LENGTH), "config", "set", "--secret", KEY, "--stack", pulumi.stack)
    if refused is not None:
        raise ConfigError(f"Pulumi.{pulumi.stack}.yaml:1: {KEY}: cannot be set: {refused}; set it yourself")
    return (
        f"{KEY}: generated, and kept encrypted in Pulumi.{pulumi.stack}.yaml; "
        f"to see it: pulumi config get {KEY} --stack {pulumi.stack}"
    )


def password_to_preview_with(pulumi: PulumiCommand, settings: StackSettings) -> dict[str, str]:
    """The variable that lets a preview plan Grafana before it has a password; empty where it has one or needs none."""
    return {_VARIABLE: secrets.token_urlsafe(_LENGTH)} if _is_missing(pulumi, settings) else {}


def _is_missing(pulumi: PulumiCommand, settings: StackSettings) -> bool:
    wanted = "grafana" in settings.wanted and not settings.environment.get(_VARIABLE)
    return wanted and not _is_set(pulumi, settings.project)


def _is_set(pulumi: PulumiCommand, project: str) -> bool:
    return f"{project}:{KEY}" in json.loads(pulumi.read("config", "--json", "--stack", pulumi.stack) or "{}")
