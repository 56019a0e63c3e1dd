"""Who asks: the callers that bearer tokens stand for. This process knows a token only by its SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HASH = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
ANYBODY_NAME = "anybody"
UNNAMED = "unnamed"
# Names that say that there is none: no token has one of them, and no issuer may give one.
RESERVED = frozenset({ANYBODY_NAME, UNNAMED})
_KEY_LENGTH = 16
# Nobody knows how many callers an issuer has, so they share a number of shelves that is known.
_OF_ISSUER = "issuer-"
ISSUER_SHELVES = 16


@dataclass(frozen=True)
class Caller:
    """`name` is what `access` calls the caller.

    `key` is what its conversations, records and used tokens are kept under. It comes from the token and not from the
    name, so that a token that is in use can be given a name without losing them.
    """

    key: str
    name: str


ANYBODY = Caller(ANYBODY_NAME, ANYBODY_NAME)


class TokensError(Exception):
    """The file of tokens can't be used; the text says which line and what to do."""


class Callers:
    """The callers by the SHA-256 of their tokens, in hex."""

    def __init__(self, by_hash: Mapping[str, Caller]) -> None:
        self._by_hash = dict(by_hash)

    def __len__(self) -> int:
        return len(self._by_hash)

    def of(self, token: str) -> Caller | None:
        """Whose token this is; None where it is nobody's."""
        given = hashlib.sha256(token.encode()).hexdigest()
        # Every hash is compared, so that time tells nothing of which was close.
        known = [caller for one, caller in self._by_hash.items() if hmac.compare_digest(given, one)]
        return known[0] if known else None


def load_callers(path: Path) -> Callers:
    """The callers in `path`: `SHA256`, or `SHA256 NAME`, one a line; none when there is no file.

    `-` is no name, since `sha256sum` writes it, and a comment starts with `#`. Raises `TokensError`.
    """
    if not path.is_file():
        return Callers({})
    found: dict[str, Caller] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        value, name = words[0].lower(), words[1] if len(words) > 1 and words[1] != "-" else None
        if not HASH.fullmatch(value):
            raise TokensError(
                f"{path}:{number}: not a SHA-256 in hex; write the output of: printf %s TOKEN | sha256sum"
            )
        if len(words) > 2 or (name is not None and (not NAME.fullmatch(name) or name in RESERVED)):
            raise TokensError(
                f"{path}:{number}: what follows the hash is no caller's name; write one word of letters, digits and "
                "._@-, at most 64 and not anybody or unnamed, or # before a comment"
            )
        # The first hash of a token counts, unless only another line names it.
        if value not in found or found[value].name == UNNAMED:
            found[value] = Caller(value[:_KEY_LENGTH], name or UNNAMED)
    return Callers(found)


def caller_of_issuer(issuer: str, subject: str, name: str) -> Caller:
    """The caller that an issuer's token is about: the same one for each of its tokens."""
    digest = hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()
    return Caller(_OF_ISSUER + digest[:_KEY_LENGTH], name)


def shelf_of(key: str) -> str:
    """On whose shelf what belongs to the caller with that key is kept: its own, or one of `ISSUER_SHELVES`."""
    return key[: len(_OF_ISSUER) + 1] if key.startswith(_OF_ISSUER) else key
