"""Certificates for tests: signed by themselves, valid when and for whom a test says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: str
    key: str

    def write(self, folder: Path) -> None:
        """Leave `tls.pem` and `tls.key` in `folder`."""
        (folder / "tls.pem").write_text(self.certificate)
        (folder / "tls.key").write_text(self.key)
        (folder / "tls.key").chmod(0o600)


def make_pair(
    *names: str,
    since: timedelta = timedelta(days=-1),
    until: timedelta = timedelta(days=90),
    key: Key | None = None,
) -> Pair:
    """A certificate for `names`, valid from `since` to `until` counted from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    return Pair(certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def weak_pair(*names: str) -> Pair:
    """A pair that belongs together, whose key OpenSSL finds too short for a server (its security level 2)."""
    return make_pair(*names, key=rsa.generate_private_key(65537, 1024))


def encrypted_key() -> str:
    """A key that nobody can use without its passphrase."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"unknown")).decode()
