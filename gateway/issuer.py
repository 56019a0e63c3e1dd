"""Callers by the tokens of an authorization server: each is checked by the keys that the server publishes.

This is an OAuth 2.1 resource server (RFC 9068, 8414, 8725); it gives no tokens out. The keys are fetched beside the
requests: who asks waits for the authorization server only where a token names a key that is not known yet.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.callers import RESERVED, Caller, caller_of_issuer
from gateway.outbound import error_line, http_client
from gateway.plan import OAuth

log = logging.getLogger(__name__)

# The kind of key that each algorithm wants, as a JWK has it (RFC 7518, 8037). No symmetric one: whoever can check such
# a signature can make it.
_KINDS: Mapping[str, tuple[tuple[str, str | None], ...]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), (("RSA", None),)),
    "ES256": (("EC", "P-256"),),
    "ES384": (("EC", "P-384"),),
    "ES512": (("EC", "P-521"),),
    "EdDSA": (("OKP", "Ed25519"), ("OKP", "Ed448")),
}
# An access token says this of itself (RFC 9068), or nothing more than that it is a JWT: no logout or DPoP token.
_TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
_MIN_RSA_BITS = 2048  # RFC 7518, 3.3
MAX_TOKEN_CHARACTERS = 8192
_MAX_NAME = 128
_MAX_DOCUMENT_BYTES = 256 * 1024
_MAX_KEYS = 100
LEEWAY_SECONDS = 60
FETCH_SECONDS = 5.0
# So long after it was taken back a key still counts.
REFRESH_SECONDS = 600.0
RETRY_SECONDS = 10.0
# Anybody can make a token that names a key of their invention; each costs the authorization server two requests.
UNKNOWN_KEY_SECONDS = 60.0
# So long after the authorization server was last heard its keys count.
STALE_SECONDS = 3600.0

Fetch = Callable[[str], Awaitable[bytes | None]]


class TokenRefused(Exception):
    """The token gives nobody anything. `error` is the one of RFC 6750 where there is one; the text is for people."""

    def __init__(self, status: int, code: str, message: str, error: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.error = error


class IssuerError(Exception):
    """The authorization server does not say what it should; the text is one line that says why."""


@dataclass(frozen=True)
class _Key:
    identity: str | None
    kind: tuple[Any, Any]
    algorithm: str | None
    public: Any

    def fits(self, algorithm: str) -> bool:
        return self.algorithm in (None, algorithm) and self.kind in _KINDS[algorithm]


async def fetch(url: str) -> bytes | None:
    """The body of a document of at most 256 KiB; None where there is none at that address. Raises `IssuerError`."""
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            http_client(FETCH_SECONDS, {"Accept": "application/json"}) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code in (401, 403, 404, 405):
                return None
            if answer.status_code != 200:
                raise IssuerError(f"{url} answered {answer.status_code}")
            received = bytearray()
            async for part in answer.aiter_bytes():
                received += part
                if len(received) > _MAX_DOCUMENT_BYTES:
                    raise IssuerError(f"{url} answered with more than {_MAX_DOCUMENT_BYTES // 1024} KiB")
            return bytes(received)
    except TimeoutError as error:
        raise IssuerError(f"{url} did not answer within {FETCH_SECONDS:g} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise IssuerError(f"{url}: {error_line(error)}") from error


class Issuer:
    """The authorization server, and its keys as it last gave them.

    `problem` says why they can't be had now, or why the last attempt failed; None where all is well.
    """

    def __init__(self, oauth: OAuth, ask: Fetch = fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self.oauth = oauth
        self.problem: str | None = "it was not asked yet"
        self._ask = ask
        self._clock = clock
        self._keys: tuple[_Key, ...] = ()
        self._heard_at: float | None = None
        self._unknown_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def work(self) -> None:
        """Keeps the keys as they are published. Ends by cancellation."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS if self.problem is None else RETRY_SECONDS)

    async def refresh(self) -> None:
        """Fetches the keys, once for all who wait for them; `problem` says how it went."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)

    async def caller(self, token: str) -> Caller:
        """Whom the token is about. Raises `TokenRefused`."""
        claims = await self._claims(token)
        missing = [scope for scope in self.oauth.scopes if scope not in _scopes(claims)]
        if missing:
            message = f"the token lacks the scope {' '.join(missing)}"
            raise TokenRefused(403, "insufficient_scope", message, "insufficient_scope")
        name = claims.get(self.oauth.caller_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable() or name in RESERVED:
            raise _invalid(f"the token has no {self.oauth.caller_claim!r} that could be a caller's name")
        subject = claims.get("sub")
        return caller_of_issuer(self.oauth.issuer, subject if isinstance(subject, str) else name, name)

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise _invalid(f"the token is longer than {MAX_TOKEN_CHARACTERS} characters")
        try:
            header = jwt.get_unverified_header(token)
            algorithm, identity, kind = str(header.get("alg")), header.get("kid"), header.get("typ")
            if algorithm not in _KINDS:
                raise _invalid(f"the token's alg is none of {', '.join(_KINDS)}")
            if "crit" in header or str(kind or "").lower() not in _TYPES:
                raise _invalid("the token is no access token")
            key = await self._key(identity, algorithm)
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[algorithm],
                audience=self.oauth.audience,
                issuer=self.oauth.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise _invalid("the token has expired") from error
        except jwt.ImmatureSignatureError as error:
            raise _invalid("the token is not valid yet") from error
        except jwt.InvalidAudienceError as error:
            raise _invalid("the token is for another audience") from error
        except jwt.InvalidIssuerError as error:
            raise _invalid("the token is of another issuer") from error
        # What is nested too deep, or has too long a number, is no token either.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise _invalid("the token cannot be read, or its signature is not the issuer's") from error
        return claims

    async def _key(self, identity: str | None, algorithm: str) -> _Key:
        if (known := self._known(identity, algorithm)) is not None:
            return known
        now = self._clock()
        if self._fetching is not None and not self._fetching.done():
            await asyncio.shield(self._fetching)
        elif self._are_usable() and (self._unknown_at is None or now - self._unknown_at >= UNKNOWN_KEY_SECONDS):
            self._unknown_at = now
            await self.refresh()
        if (known := self._known(identity, algorithm)) is not None:
            return known
        if self._are_usable() and self.problem is None:
            raise _invalid("the token is signed by a key that the issuer does not have")
        raise TokenRefused(503, "issuer_unreachable", "the issuer of this token cannot be asked for its keys")

    def _are_usable(self) -> bool:
        return self._heard_at is not None and self._clock() - self._heard_at <= STALE_SECONDS

    def _known(self, identity: str | None, algorithm: str) -> _Key | None:
        fitting = [key for key in self._keys if key.fits(algorithm)] if self._are_usable() else []
        if identity is None:
            # Whoever has one key need not name it.
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.identity == identity), None)

    async def _fetch(self) -> None:
        before = self.problem
        try:
            self._keys = await self._published()
        except IssuerError as error:
            self.problem = str(error)[:200]
            if before != self.problem:
                log.warning("the issuer's keys cannot be had: %s", self.problem)
            return
        self._heard_at, self.problem = self._clock(), None
        if before is not None:
            log.info("the issuer's keys: %d", len(self._keys))

    async def _published(self) -> tuple[_Key, ...]:
        address = await self._address_of_keys()
        keys = tuple(_keys(_json(await self._ask(address), address)))
        if not keys:
            raise IssuerError(f"{address} has no key that can check a signature")
        return keys

    async def _address_of_keys(self) -> str:
        issuer = self.oauth.issuer
        for address in metadata_addresses(issuer):
            if (body := await self._ask(address)) is None:
                continue
            document = _json(body, address)
            # RFC 8414, 3.3: else one issuer could speak for another.
            if document.get("issuer") != issuer:
                raise IssuerError(f"{address} is of another issuer than oauth.issuer says, to the letter")
            keys = document.get("jwks_uri")
            if not isinstance(keys, str) or urlsplit(keys).scheme not in {"https", urlsplit(issuer).scheme}:
                raise IssuerError(f"{address} names no jwks_uri, or one that is not https")
            return keys
        raise IssuerError(f"{issuer} has neither an oauth-authorization-server nor an openid-configuration document")


def metadata_addresses(issuer: str) -> Iterator[str]:
    """Where an authorization server describes itself (RFC 8414, 3.1; OpenID Connect Discovery, 4), in this order."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    yield f"{origin}/.well-known/oauth-authorization-server{path}"
    yield f"{origin}{path}/.well-known/openid-configuration"
    if path:
        yield f"{origin}/.well-known/openid-configuration{path}"


def _json(body: bytes | None, address: str) -> dict[str, Any]:
    if body is None:
        raise IssuerError(f"{address} is not there")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise IssuerError(f"{address} is no JSON") from error
    if not isinstance(document, dict):
        raise IssuerError(f"{address} is no JSON object")
    return document


def _keys(document: Mapping[str, Any]) -> Iterator[_Key]:
    published = document.get("keys")
    for entry in published[:_MAX_KEYS] if isinstance(published, list) else ():
        # A key to encrypt with says nothing of signatures; one with `d` is no secret of the issuer's any more.
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or "d" in entry:
            continue
        kind = (entry.get("kty"), entry.get("crv"))
        try:
            if not any(kind in kinds for kinds in _KINDS.values()):
                continue
            public = jwt.PyJWK({name: value for name, value in entry.items() if name != "alg"}).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if isinstance(public, RSAPublicKey) and public.key_size < _MIN_RSA_BITS:
            continue
        identity, algorithm = entry.get("kid"), entry.get("alg")
        yield _Key(identity, kind, algorithm, public)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """What the token is for: `scope` (RFC 9068), or `scp`, as text or as a list."""
    told = claims.get("scope", claims.get("scp", ""))
    words = told.split() if isinstance(told, str) else told
    return frozenset(word for word in words if isinstance(word, str)) if isinstance(words, list) else frozenset()


def _invalid(message: str) -> TokenRefused:
    return TokenRefused(401, "invalid_token", message, "invalid_token")
