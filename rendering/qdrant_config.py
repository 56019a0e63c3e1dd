"""Qdrant's configuration, on top of its own defaults: the API key, which must not be in its environment."""

from __future__ import annotations

import json

from planning.contents import SecretText
from planning.plan import SECRETS_PATH

CONFIG_FILE = f"{SECRETS_PATH}/qdrant.yaml"


def qdrant_config(api_key: SecretText) -> SecretText:
    """YAML for `qdrant --config-path` (https://qdrant.tech/documentation/guides/configuration/)."""
    # A JSON string is a YAML string, whatever the key holds.
    return SecretText(f"service:\n  api_key: {json.dumps(api_key.text)}\n")
