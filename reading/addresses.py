"""Which addresses are never connected to, whatever name led there."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

# Where clouds hand out credentials, apart from the link-local 169.254.169.254: Alibaba, Oracle, Azure; AWS and GCP
# over IPv6. Source: each provider's documentation of its instance metadata service.
_METADATA = frozenset(
    ip_address(text) for text in ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")
)
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")


# A crowded file names the same few hosts thousands of times.
@lru_cache(maxsize=256)
def refusal(text: str) -> str | None:
    """Why the resolved address `text` must not be asked, or None where it may be."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return "not an address"
    return next((why for inner in _unwrapped(address) if (why := _why(inner))), None)


def _unwrapped(address: Address) -> tuple[Address, ...]:
    """The address and every IPv4 address that an IPv6 one can stand for: mapped, 6to4, Teredo, NAT64, compatible."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return (address,)
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    embedded = [address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in (*_NAT64, _COMPATIBLE)):
        embedded.append(low)
    return (address, *(inner for inner in embedded if inner is not None))


def _why(address: Address) -> str | None:
    if address.is_link_local or address in _METADATA:
        return f"{address} is a link-local or metadata address, which is never asked"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_NETWORK):
        return f"{address} is no address to connect to; for this machine write 127.0.0.1"
    if address.is_multicast or (isinstance(address, IPv4Address) and address.is_reserved):
        return f"{address} is a multicast or reserved address"
    if isinstance(address, IPv6Address) and address.is_site_local:
        return f"{address} is a deprecated site-local address"
    return None


def is_loopback_host(host: str) -> bool:
    """Whether a host, as an endpoint writes it, is this machine's loopback by address or by name."""
    address = plain_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def is_inside(host: str) -> bool:
    """Whether `host` is an address of a private network or the loopback: no stranger is on the way to it."""
    address = plain_address(host)
    return is_loopback_host(host) or (address is not None and address.is_private)


def plain_address(text: str) -> Address | None:
    """`text` as an address, an IPv4 one out of its IPv6 wrapping, or None where it is none. A zone is dropped."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
