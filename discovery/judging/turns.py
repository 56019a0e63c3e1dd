"""Which places are asked one after the other: ports of one process that has protocols of its own beside. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from catalog import FINDABLE
from discovery.judging.ownership import holders
from discovery.judging.sightings import Sighting
from discovery.wire import Place
from discovery.world import World
from reading.addresses import plain_address

# The places that are asked at once, and then those that follow.
Turns = tuple[tuple[Place, ...], ...]


def in_turns(by_place: Mapping[Place, Sequence[Sighting]], world: World) -> tuple[Turns, ...]:
    """All places, each by itself or with the other ports of its process, the likeliest port first.

    What somebody wrote down is asked for its own sake.
    """
    alone: list[Turns] = []
    by_process: dict[tuple[str, int], dict[int, list[Place]]] = defaultdict(lambda: defaultdict(list))
    for place, here in by_place.items():
        service, pid = _service(here), _pid(place, world)
        if service is None or pid is None:
            alone.append(((place,),))
        else:
            by_process[service, pid][place.port].append(place)
    together = [_turns(service, by_port) for (service, _), by_port in by_process.items()]
    return (*alone, *together)


def _turns(service: str, by_port: Mapping[int, Sequence[Place]]) -> Turns:
    return tuple(tuple(by_port[port]) for port in sorted(by_port, key=lambda port: _likelihood(service, port, by_port)))


def _likelihood(service: str, port: int, ports: Collection[int]) -> tuple[bool, bool, int]:
    findable = FINDABLE[service]
    is_inner = any(port - above in ports for above in findable.inner_ports)
    return port not in findable.known_ports, is_inner, port


def _service(here: Sequence[Sighting]) -> str | None:
    """The one service that is looked for there, where nobody named the place and it has inner ports."""
    services = {sighting.candidate.service for sighting in here}
    if len(services) != 1 or any(sighting.probe.configured for sighting in here):
        return None
    (service,) = services
    return service if service in FINDABLE and FINDABLE[service].inner_ports else None


def _pid(place: Place, world: World) -> int | None:
    address = plain_address(place.host)
    pids = {listener.pid for listener in holders((address,), place.port, world)} if address is not None else set()
    return pids.pop() if len(pids) == 1 else None
