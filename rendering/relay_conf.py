"""A relay's configuration: nginx as a TCP proxy that knows two addresses and nothing of what passes."""

from __future__ import annotations

from rendering.template import TEMPLATES, Template

_CONF = Template(TEMPLATES / "relay.conf")


def relay_conf(address: str, subnet: str, port: int, target: str) -> str:
    """The text of a relay's `nginx.conf`: from `address` (of this host, in `subnet`) and `port` to `target`.

    Others on the host's own networks could route packets to `address`; only senders within `subnet` are served.
    """
    return _CONF.fill(ADDRESS=address, SUBNET=subnet, PORT=port, TARGET=target) + "\n"
