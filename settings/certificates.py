"""Whether a certificate and its key can serve, asked of OpenSSL's own library before anything is declared. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

# Let's Encrypt's clients renew 30 days before the end: a certificate that is younger than that was not renewed.
RENEW_BEFORE = timedelta(days=30)


class UnusableCertificate(Exception):
    """The certificate can't serve. The text continues "the certificate …" and says what to do."""


class UnusableKey(Exception):
    """The key can't serve. The text continues "the key …" and says what to do."""


@dataclass(frozen=True)
class Checked:
    """The chain and the key as PEM with nothing else in it, and what should be looked after soon, one line each."""

    chain: str
    key: str | None = field(repr=False)
    warnings: tuple[str, ...]


def check(chain: bytes, key: bytes | None, hosts: Sequence[str], now: datetime) -> Checked:
    """Check a PEM `chain` (the server's own certificate first) that is to serve `hosts`, and its PEM `key` if known.

    What is handed on is written anew: a file often holds the key beside the certificate, which is not for everybody.
    Raises `UnusableCertificate` or `UnusableKey`.
    """
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise UnusableCertificate(
            "is no PEM certificate; that starts with -----BEGIN CERTIFICATE-----, the server's own before its chain"
        ) from error
    for certificate in certificates:
        _check_dates(certificate, now)
    private = None if key is None else _private_key(key)
    if private is not None:
        _check_key(private, certificates)
    return Checked(
        chain="".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in certificates),
        key=None if private is None else _written(private),
        warnings=tuple(_warnings(certificates, hosts, now)),
    )


def _written(key: PrivateKeyTypes) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    name = certificate.subject.rfc4514_string()
    if now >= certificate.not_valid_after_utc:
        raise UnusableCertificate(f"({name}) expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it")
    if now < certificate.not_valid_before_utc:
        raise UnusableCertificate(
            f"({name}) is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            "check this machine's clock, or use one that is valid now"
        )


def _private_key(key: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(key, password=None)
    except TypeError as error:
        raise UnusableKey(
            "is encrypted, and nginx has nobody to ask for its passphrase; decrypt it: "
            "openssl pkey -in key.pem -out decrypted.pem"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey("is no PEM private key; that starts with -----BEGIN PRIVATE KEY-----") from error


def _check_key(key: PrivateKeyTypes, certificates: Sequence[x509.Certificate]) -> None:
    def public(of: x509.Certificate | PrivateKeyTypes) -> bytes:
        return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    positions = [number for number, one in enumerate(certificates) if public(one) == public(key)]
    if not positions:
        raise UnusableKey("does not belong to the certificate; use the one that its request was made with")
    if 0 not in positions:
        raise UnusableCertificate(f"is number {positions[0] + 1} in its file; put the server's own first")


def _warnings(certificates: Sequence[x509.Certificate], hosts: Sequence[str], now: datetime) -> Iterator[str]:
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    if end - now < RENEW_BEFORE:
        yield f"expires on {end:%Y-%m-%d}; renew it and deploy again"
    names = _names(certificates[0])
    for host in hosts:
        if not any(_covers(name, host) for name in names):
            yield f"is not for {host} but for {', '.join(names) or 'no name'}; browsers will refuse it there"


def _names(certificate: x509.Certificate) -> list[str]:
    """The DNS names it is for; browsers have not looked at the common name since 2017 (RFC 9110, 4.3.4)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _covers(name: str, host: str) -> bool:
    """Whether a certificate's `name` is for `host`; `*` stands for exactly one label (RFC 6125, 6.4.3)."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])
