"""The bearer tokens that the application takes, as it reads them: by hash, so that its container holds none."""

from __future__ import annotations

import hashlib

from planning.contents import SecretText

FILE = "gateway-tokens"


def gateway_tokens(tokens: SecretText) -> SecretText:
    """The SHA-256 of each of `tokens` (apart by white space), in hex, one a line."""
    return SecretText("".join(f"{hashlib.sha256(token.encode()).hexdigest()}\n" for token in tokens.text.split()))
