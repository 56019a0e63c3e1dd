"""From where a finding can be reached: the host, containers on a network, anywhere, or only inside a process. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from discovery.judging.ownership import Whose
from discovery.probes.docker_engine import network_of
from discovery.report import Reach, Vantage
from discovery.wire import Place
from reading.addresses import Address

IN_PROCESS = Reach(Vantage.PROCESS)


def reach_of(place: Place, addresses: Sequence[Address], found: Whose, *, engine_is_here: bool) -> Reach:
    """The vantage of one endpoint that resolved to `addresses` and leads to `found`."""
    container = found.container
    network = network_of(container) if container else None
    if container is not None and network is not None and found.container_port is not None:
        attachment = container.networks[network]
        # The default bridge has no DNS: there a container is known by its address only.
        host = container.name if network != "bridge" else attachment.ip or attachment.ip6
        inside = Place(place.scheme, host, found.container_port, place.path)
        endpoint = f"{inside.scheme}://{inside.authority}{inside.path}"
        return Reach(Vantage.CONTAINER_NETWORK, network, endpoint, attachment.network_id)
    if any(address.is_loopback for address in addresses):
        return Reach(Vantage.HOST_LOOPBACK if engine_is_here else Vantage.OTHER_LOOPBACK)
    return Reach(Vantage.ANYWHERE)
