"""Candidates from the engine's containers: by label first, then by the image's whole repository name."""

from __future__ import annotations

from collections.abc import Iterator

from catalog import FINDABLE, LABEL_SERVICE, SERVICES, scheme_of
from discovery.config import is_name
from discovery.readers import engine
from discovery.report import Candidate, Source
from discovery.request import Gathered, Request
from discovery.world import Binding, Container, EngineState, Inventory
from reading.addresses import plain_address
from reading.text import one_line

# Labels that name the service a container runs: ours, then the one docker-compose writes.
SERVICE_LABELS = (LABEL_SERVICE, "com.docker.compose.service")
# Networks whose addresses are not another container's to name (`bridge` has no DNS) or that have none.
SPECIAL_NETWORKS = ("bridge", "host", "none", "ingress")
_MAX_PORTS = 32


def docker_engine(request: Request) -> Gathered:
    """Candidates of all running containers that look like a service, with the inventory they were taken from."""
    inventory = engine.inventory(request)
    warnings = [inventory.problem] if inventory.state is EngineState.BROKEN else []
    warnings += crowded(inventory)
    return Gathered(tuple(candidates(inventory)), tuple(warnings), inventory=inventory)


def candidates(inventory: Inventory) -> Iterator[Candidate]:
    """Where each running container can be asked from this machine."""
    for container in inventory.containers:
        service = service_of(container)
        if service is None or container.status != "running":
            continue
        for endpoint in endpoints_of(container, service, inventory.host):
            yield Candidate(service, Source.DOCKER, endpoint, f"container {container.name}", container.id)


def crowded(inventory: Inventory) -> Iterator[str]:
    """What to say of containers with more ports than are looked at."""
    for container in inventory.containers:
        service = service_of(container)
        count = len(_all_ports_of(container, service)) if service and container.status == "running" else 0
        if count > _MAX_PORTS:
            yield f"container {one_line(container.name, 60)}: {count} ports; only the first {_MAX_PORTS} are looked at"


def service_of(container: Container) -> str | None:
    """The service a container is said to run, or None. A name that merely sounds like it is not looked at."""
    for label in SERVICE_LABELS:
        name = container.labels.get(label, "")
        if is_name(name) and (label == LABEL_SERVICE or name in FINDABLE):
            return name
    repository = repository_of(container.image)
    return next((service.name for service in FINDABLE.values() if repository in service.images), None)


def repository_of(image: str) -> str:
    """The repository of an image reference without registry, tag and digest: `docker.io/library/redis:7` is `redis`."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}".removeprefix("library/")


def endpoints_of(container: Container, service: str, host: str) -> Iterator[str]:
    """The published ports of the service, as this machine reaches them; else its address on a network."""
    scheme = scheme_of(service)
    ports = _ports_of(container, service)
    published = sorted({at for port in ports for at in _published(container.bindings, port, host)})
    # Docker publishes one port on 0.0.0.0 and on [::]: one way in is enough to ask.
    taken: set[int] = set()
    for _is_v6, address, port in published:
        if port not in taken:
            taken.add(port)
            yield f"{scheme}://{_bracketed(address)}:{port}"
    if not published:
        address = _own_address(container)
        yield from (f"{scheme}://{_bracketed(address)}:{port}" for port in ports if address)


def network_of(container: Container) -> str | None:
    """The network to join for reaching a container: a user-defined one before `bridge`, the first by name."""
    named = sorted(name for name in container.networks if name not in SPECIAL_NETWORKS)
    return named[0] if named else ("bridge" if "bridge" in container.networks else None)


def _ports_of(container: Container, name: str) -> tuple[int, ...]:
    return _all_ports_of(container, name)[:_MAX_PORTS]


def _all_ports_of(container: Container, name: str) -> tuple[int, ...]:
    known = tuple(binding.container_port for binding in container.bindings)
    service = SERVICES.get(name)
    if service is not None and (service.port in known or not known):
        return (service.port,)
    usual = FINDABLE[name].known_ports if name in FINDABLE else ()
    return tuple(dict.fromkeys(known or usual))


def _published(bindings: tuple[Binding, ...], port: int, host: str) -> Iterator[tuple[bool, str, int]]:
    for binding in bindings:
        if binding.container_port != port or binding.host_port is None or binding.host_ip is None:
            continue
        address = plain_address(binding.host_ip)
        if address is None:
            continue
        if address.is_unspecified:
            yield (
                address.version == 6,
                (host if host != "127.0.0.1" or address.version == 4 else "::1"),
                binding.host_port,
            )
        else:
            yield address.version == 6, str(address), binding.host_port


def _own_address(container: Container) -> str:
    if "host" in container.networks:
        return "127.0.0.1"
    network = network_of(container)
    place = container.networks.get(network) if network else None
    return (place.ip or place.ip6) if place else ""


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
