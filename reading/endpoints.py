"""The one form in which an endpoint is written: `scheme://host:port[/path]`, checked before anybody connects.

What an endpoint may hold is an allow-list, since it ends up in rendered configuration and on terminals.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache

from reading import addresses

DEFAULT_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
HTTP = ("http", "https")
REDIS = ("redis", "rediss")
# The same protocol under another vendor's name.
_ALIASES = {"valkey": "redis", "valkeys": "rediss"}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)([?#].*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH = re.compile(r"(?:[A-Za-z0-9._~/:+,=@-]|%[0-9A-Fa-f]{2})*")
_PACKAGE = re.compile(r"(?:@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*(?:@[0-9A-Za-z][0-9A-Za-z.+-]{0,63})?")
_MAX_URL = 2048
_MAX_PACKAGE = 214  # the registry's own limit for a name


class EndpointError(ValueError):
    """The text is no endpoint. The message is `what is wrong; what to do`, without the text itself."""


def normalise_endpoint(text: str, schemes: Collection[str] = HTTP) -> str:
    """`text` as `scheme://host:port[/path]`: lower case, explicit port, bracketed IPv6, no trailing slash alone.

    Raises `EndpointError` for another scheme, userinfo, a query (keys live there), a host that is no name or
    address, or an address that is never asked (`addresses.refusal`).
    """
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if len(text) > _MAX_URL:
        raise EndpointError(f"is longer than {_MAX_URL} characters; shorten it")
    match = _URL.fullmatch(text)
    if match is None:
        raise EndpointError(f"is not a URL; write it as {next(iter(schemes))}://host:port")
    scheme, authority, path, rest = match[1].lower(), match[2], match[3], match[4]
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in schemes:
        raise EndpointError(f"has the wrong scheme; it must start with {wanted}")
    if "@" in authority:
        raise EndpointError("carries a user name or password; take it out of the URL")
    if rest is not None:
        raise EndpointError("carries a query or fragment, which may hold a key; take everything from '?' or '#' out")
    if _PATH.fullmatch(path) is None:
        raise EndpointError("has characters in its path that do not belong in a URL; remove or percent-encode them")
    host_port = host_and_port(authority, DEFAULT_PORTS[scheme])
    return f"{scheme}://{host_port}{'' if path == '/' else path}"


def host_and_port(text: str, default_port: int | None = None) -> str:
    """`text` (`host`, `host:port`, `[v6]:port`) as `host:port`; raises `EndpointError` as `normalise_endpoint` does."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise EndpointError("is not host:port; an IPv6 address is written in brackets, as [::1]:8000")
    host, digits = match[1], match[2]
    if not digits and default_port is None:
        raise EndpointError("has no port; write it as host:port")
    return f"{normalise_host(host)}:{port_number(digits) if digits else default_port}"


def port_number(digits: str) -> int:
    """A port from 1 to 65535; raises `EndpointError` for anything else, signs, spaces and other alphabets included."""
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not 1 <= int(digits) <= 65535:
        raise EndpointError("has a port that is not a number from 1 to 65535; correct it")
    return int(digits)


def normalise_host(host: str) -> str:
    """A host name in lower case or an address, IPv6 in brackets; raises `EndpointError`."""
    if host.startswith("["):
        return f"[{_address(host[1:-1])}]"
    name = host.lower().removesuffix(".")
    if not name:
        raise EndpointError("has no host; write it as host:port")
    if not name.isascii():
        raise EndpointError("has a host with letters outside ASCII; write its xn-- form")
    labels = name.split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # 127.1, 0x7f000001 and 2130706433 are all 127.0.0.1 to a C library, and none of them to a reader.
        return _address(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise EndpointError("has a host that is neither a name nor an address; correct it")
    return name


def is_package(text: str) -> bool:
    """Whether `text` is an npm package name, maybe scoped, perhaps with `@version`: nothing a shell could read."""
    return len(text) <= _MAX_PACKAGE and _PACKAGE.fullmatch(text) is not None


@lru_cache(maxsize=256)
def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EndpointError("has a host that is not a valid IP address; write it in full, as 192.0.2.1") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise EndpointError("has a zone in its IPv6 address; use an address without one")
    if why := addresses.refusal(str(address)):
        raise EndpointError(f"cannot be asked: {why.replace(';', ',')}; use another address")
    return str(address)
