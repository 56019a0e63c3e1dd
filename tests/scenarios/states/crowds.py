"""Several strangers in one machine state, each in one of the places where any service is looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..outcome import LOOPBACK_V4
from ..scenario import Table, lists, selects, selects_nothing
from ..servers import Talk
from ..world import Check, World

_PORTS = {"redis": 6379, "qdrant": 6333, "zen-mcp": 8000, "prometheus": 9090, "grafana": 3000}
_LOOPBACK_V6 = frozenset({"::1"})
_EACH = 4


def crowd(
    table: Table,
    what: str,
    strangers: Mapping[str, Talk],
    verdicts: tuple[str, ...],
    *checks: Check,
    budget: float | None = None,
) -> None:
    """A scenario for each four strangers: at the known port by IPv4 and by IPv6, in the environment, in a lock.

    Each must get one of `verdicts` from every service, and no service be selected. With a `budget` of seconds
    Qdrant's places are left to a good Qdrant, which must be found in spite of them.
    """
    names = list(strangers)
    for first in range(0, len(names), _EACH):
        some = names[first : first + _EACH]
        _scenario(table, f"{', '.join(some)}: {what}", [strangers[name] for name in some], verdicts, checks, budget)


def _scenario(
    table: Table,
    name: str,
    talks: list[Talk],
    verdicts: tuple[str, ...],
    checks: tuple[Check, ...],
    budget: float | None,
) -> None:
    services = [service for service in _PORTS if budget is None or service != "qdrant"]

    def start(world: World) -> None:
        if budget is not None:
            # A process of its own: floods of ours must not slow it down.
            world.emulator("qdrant", "1.12.0", _PORTS["qdrant"])
        for service in services:
            for place, talk in enumerate(talks):
                _settle(world, service, place, talk)

    expected = [
        lists(service, _port(service, place), verdicts, hosts=_LOOPBACK_V6 if place == 1 else LOOPBACK_V4)
        for service in services
        for place in range(len(talks))
    ]
    found = [selects("qdrant", _PORTS["qdrant"])] if budget is not None else []
    table(name, selects_nothing(*services), *found, *expected, *checks, budget=budget or 5.0)(start)


def _port(service: str, place: int) -> int:
    return _PORTS[service] + (0, 0, 10_000, 20_000)[place]


def _settle(world: World, service: str, place: int, talk: Talk) -> None:
    port = _port(service, place)
    world.serve(talk, port, "::1" if place == 1 else "127.0.0.1")
    scheme = "redis" if service == "redis" else "http"
    url = f"{scheme}://127.0.0.1:{port}"
    if place == 2:
        variable = {"redis": "REDIS_URL", "qdrant": "QDRANT_HOST", "zen-mcp": "ZEN_MCP_URL"}.get(service)
        world.set(**{variable or f"{service.upper()}_URL": url})
    if place == 3:
        world.lock(service, port, os.getpid(), endpoint=url)
