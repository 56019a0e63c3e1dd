"""The load balancer's certificate and key: read where the settings name them, checked before anything is declared."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from errors import ConfigError
from reading import safe_files

_PEM = "-----BEGIN "
_MAX_BYTES = 64 * 1024
_GIVE_A_KEY = "name a PEM file, or: pulumi config set --secret tlsKey < key.pem"


@dataclass(frozen=True)
class Tls:
    """A certificate with its chain, and its key: PEM. No key where only Pulumi's engine could decrypt it."""

    certificate: str
    key: str | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A setting's text (None: encrypted), where it was written, and whether anybody may read it there."""

    text: str | None = field(repr=False)
    where: str
    in_the_open: bool = False


def read_tls(root: Path, certificate: Setting, key: Setting | None, hosts: Sequence[str]) -> Tls | None:
    """What `tlsCertificate` and `tlsKey` stand for; None without a certificate. Raises `ConfigError`."""
    if not certificate.text:
        if key is not None:
            raise ConfigError(f"{key.where}: tlsKey: there is no tlsCertificate; name the PEM file that it belongs to")
        return None
    place = f"{certificate.where}: tlsCertificate"
    if key is None:
        raise ConfigError(f"{place}: there is no tlsKey to it; {_GIVE_A_KEY}")
    if not hosts:
        raise ConfigError(
            f"{place}: publicHosts is empty; name the hosts that the certificate is for: "
            "pulumi config set --path 'publicHosts[0]' craft.example.com"
        )
    chain = _file(root, certificate.text, place)
    private = _private(root, key)
    # Loading the library takes 0.1 s, which only those who have a certificate should wait for.
    from settings.certificates import UnusableCertificate, UnusableKey, check

    try:
        checked = check(chain, private, hosts, datetime.now(UTC))
    except UnusableCertificate as error:
        raise ConfigError(f"{place}: {certificate.text} {error}") from error
    except UnusableKey as error:
        raise ConfigError(f"{key.where}: tlsKey: it {error}") from error
    warnings = [f"{place}: {certificate.text} {warning}" for warning in checked.warnings]
    if _is_file(key) and (root / str(key.text)).stat().st_mode & stat.S_IROTH:
        warnings.append(f"{key.where}: tlsKey: every user of this machine can read {key.text}; chmod 600 it")
    return Tls(checked.chain, checked.key, tuple(warnings))


def _is_file(key: Setting) -> bool:
    return key.text is not None and not key.text.lstrip().startswith(_PEM)


def _private(root: Path, key: Setting) -> bytes | None:
    place = f"{key.where}: tlsKey"
    if key.text is None:
        return None
    if _is_file(key):
        return _file(root, key.text, place)
    if key.in_the_open:
        raise ConfigError(f"{place}: stands in this file in the open; take it out and {_GIVE_A_KEY}")
    return key.text.encode()


def _file(root: Path, path: str, place: str) -> bytes:
    try:
        data = safe_files.read_file(root / path, safe_files.Rules(max_bytes=_MAX_BYTES, closed=True))
    except safe_files.UnsafeFile as error:
        raise ConfigError(f"{place}: {path[:80]!r} {error}; name a PEM file") from error
    if data is None:
        raise ConfigError(
            f"{place}: {path[:80]!r} is not there; name a PEM file by its path, relative to the project's folder"
        )
    return data
