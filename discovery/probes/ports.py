"""Candidates at the ports where such services commonly listen on a host, over IPv4 and IPv6."""

from __future__ import annotations

from catalog import FINDABLE, scheme_of
from discovery.report import Candidate, Source
from discovery.request import Gathered, Request

_HOSTS = ("127.0.0.1", "[::1]")


def ports(request: Request) -> Gathered:
    """One candidate for each known port and address family; whether anybody listens is for the asking to find out."""
    return Gathered(
        tuple(
            Candidate(
                service.name,
                Source.EXTERNAL,
                f"{scheme_of(service.name)}://{host}:{port}",
                f"port {port}",
                is_guess=True,
            )
            for service in FINDABLE.values()
            for port in service.known_ports
            for host in _HOSTS
        )
    )
