"""The bearer tokens that the application takes, as it reads them: by hash, so that its container holds none."""

from __future__ import annotations

import hashlib

from planning.contents import SecretText

FILE = "gateway-tokens"


def gateway_tokens(tokens: SecretText) -> SecretText:
    """A line `SHA256` or `SHA256 NAME`, in hex, for each of `tokens`: `TOKEN` or `NAME:TOKEN`, apart by white space."""
    return SecretText("".join(f"{_line(word)}\n" for word in tokens.text.split()))


def _line(word: str) -> str:
    # No bearer token has a colon (RFC 6750, 2.1).
    name, _, token = word.rpartition(":")
    return f"{hashlib.sha256(token.encode()).hexdigest()} {name}".rstrip()
