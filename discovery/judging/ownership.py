"""Whose is it? Ports, processes and locks are matched to containers before they count. Pure; docs/reliability.md, 5.

A finding of our own that passes for somebody else's makes the next deployment delete what it found, so every doubt is
settled against reuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from catalog import LABEL_OWNER, LABEL_PROJECT, LABEL_SERVICE, LABEL_STACK, MODELS
from discovery.report import Candidate, Ownership, Source, Verdict
from discovery.request import Request
from discovery.world import Binding, Container, EngineState, Listener, World
from reading.addresses import Address, plain_address
from reading.text import one_line

# Programs that hold a port on behalf of a container: the engine itself, and those of rootless and desktop engines.
PORT_HOLDERS = frozenset(
    {"docker-proxy", "dockerd", "rootlesskit", "rootlessport", "slirp4netns", "pasta", "conmon", "vpnkit", "ssh"}
)
_PORT_HOLDER_PREFIX = "com.docker"


@dataclass(frozen=True)
class Whose:
    """The container an address and port lead to, with its port inside; `doubt` says why nobody can tell.

    `host_command` is the service that a command of this host serves there for this stack. `user` is another person of
    this machine whose process listens there, "" where it is nobody's or no other's.
    """

    container: Container | None = None
    container_port: int | None = None
    doubt: str | None = None
    host_command: str | None = None
    user: str = ""


def whose(addresses: Sequence[Address], port: int, world: World) -> Whose:
    """Where a connection to any of `addresses` on `port` ends."""
    for address in addresses:
        if (service := world.host_commands.get((address, port))) is not None:
            return Whose(host_command=service)
        for container in world.inventory.containers:
            if (inner := _port_inside(address, port, container, world)) is not None:
                return Whose(container, inner)
    listeners = holders(addresses, port, world)
    for listener in listeners:
        if (holder := world.container(listener.container_id)) is not None:
            return Whose(holder, port)
    user = next((listener.user for listener in listeners if listener.user), "")
    if world.inventory.state is EngineState.BROKEN and any(_may_be_contained(at, port, world) for at in addresses):
        doubt = "whether this leads to a container is unknown, as the Docker Engine does not say what runs"
        return Whose(doubt=doubt, user=user)
    return Whose(user=user)


def ownership_of(container: Container | None, request: Request) -> Ownership:
    """Whose a container is. A label alone makes nothing ours; without our labels it is anybody's."""
    if container is None:
        return Ownership.EXTERNAL
    labels, checkpoint = container.labels, request.checkpoint
    if LABEL_PROJECT not in labels and LABEL_STACK not in labels:
        return Ownership.EXTERNAL
    if (labels.get(LABEL_PROJECT), labels.get(LABEL_STACK)) != (request.project, request.stack):
        return Ownership.FOREIGN_CLAIM
    # A Swarm task's container carries the id of the service that the state knows.
    ids = {container.id, labels.get("com.docker.swarm.service.id", container.id)}
    if checkpoint.known and not ids.isdisjoint(checkpoint.ids):
        return Ownership.OURS
    if checkpoint.owner and labels.get(LABEL_OWNER, checkpoint.owner) != checkpoint.owner:
        return Ownership.FOREIGN_CLAIM  # the same stack's name, deployed from another state
    return Ownership.ORPHAN


def named_container(host: str, request: Request, world: World) -> Container | None:
    """The container that `host` means inside of the engine's networks: by its own name, or by its service's alias.

    This stack's container comes first: every stack has one of the same alias.
    """
    named = [
        container
        for container in world.inventory.containers
        if host == container.name or host == container.labels.get(LABEL_SERVICE)
    ]
    ours = [container for container in named if container.labels.get(LABEL_STACK) == request.stack]
    return next(iter((*ours, *named)), None)


def verdict_of_owner(found: Whose, service: str, configured: bool, request: Request) -> tuple[Verdict, str] | None:
    """The verdict that follows from whose it is, or None where it still has to prove what it is."""
    container = found.container
    if found.host_command is not None:
        return Verdict.OWNED, f"this stack's own bridge to a command of this host, for {found.host_command}"
    if container is None:
        doubt = _doubt(found, configured, request)
        return (Verdict.SKIPPED, doubt) if doubt else None
    name = one_line(container.name, 60)
    match ownership_of(container, request):
        case Ownership.OURS:
            return Verdict.OWNED, f"this stack's own container {name}"
        case Ownership.ORPHAN if not request.checkpoint.known:
            return Verdict.SKIPPED, f"container {name} has this stack's labels, but the stack's state cannot be read"
        case Ownership.ORPHAN:
            return Verdict.SKIPPED, (
                f"container {name} has this stack's labels, but is not in its state; "
                f"pulumi import it, or docker rm -f {name}"
            )
        case Ownership.FOREIGN_CLAIM if service == MODELS.name:
            return Verdict.SKIPPED, f"container {name} is another deployment's, and none runs a model server"
        case Ownership.FOREIGN_CLAIM if service not in request.share:
            stack, project = (one_line(container.labels.get(label, "?"), 30) for label in (LABEL_STACK, LABEL_PROJECT))
            return Verdict.SKIPPED, (
                f"container {name} is another deployment's (stack {stack} of project {project}); "
                f"to use it, add {service} to share in Pulumi.{request.stack}.yaml"
            )
        case _:
            return None


def _doubt(found: Whose, configured: bool, request: Request) -> str | None:
    """Why an endpoint of unknown ownership is not asked, or None where it may be.

    What somebody wrote down may be asked, unless this stack has containers that it could lead to.
    """
    nothing_of_ours = request.checkpoint.known and not request.checkpoint.ids
    return None if configured and nothing_of_ours else found.doubt


def attributed(candidate: Candidate, configured: bool, found: Whose) -> Candidate:
    """The candidate with its container; one that nobody configured becomes the container's own."""
    container = found.container
    if container is None:
        return candidate
    if configured or candidate.source is Source.DOCKER:
        return replace(candidate, container_id=container.id)
    evidence = f"container {container.name} ({candidate.evidence})"
    return replace(candidate, source=Source.DOCKER, container_id=container.id, evidence=evidence)


def _port_inside(address: Address, port: int, container: Container, world: World) -> int | None:
    if container.status not in ("running", "paused", "restarting"):
        return None
    own = {plain_address(text) for place in container.networks.values() for text in (place.ip, place.ip6) if text}
    if world.inventory.local and address in own:
        return port
    for binding in container.bindings:
        if binding.host_port == port and _is_published_at(binding, address, world):
            # Another network namespace's loopback is not the engine's: whoever listens here settles it.
            native = world.inventory.local and _is_native(address, port, world)
            return None if native else binding.container_port
    return None


def _is_published_at(binding: Binding, address: Address, world: World) -> bool:
    bound = plain_address(binding.host_ip or "")
    if bound is None:
        return False
    here = world.is_local(address) if world.inventory.local else address == plain_address(world.inventory.host)
    if bound.is_unspecified:
        return here and (bound.version == 6 or address.version == 4)
    return bound == address


def holders(addresses: Sequence[Address], port: int, world: World) -> tuple[Listener, ...]:
    """The sockets that a connection to any of `addresses` on `port` may end at, as far as this machine has them."""
    return tuple(
        listener
        for listener in world.listeners
        if listener.port == port
        and any(
            listener.address == address
            or (
                listener.address.is_unspecified
                and listener.address.version >= address.version
                and world.is_local(address)
            )
            for address in addresses
        )
    )


def _is_native(address: Address, port: int, world: World) -> bool:
    """Whether the sockets at this address are all known to be held by processes outside of containers."""
    listeners = holders((address,), port, world)
    return bool(listeners) and all(_is_plain_process(listener) for listener in listeners)


def _is_plain_process(listener: Listener) -> bool:
    return (
        listener.pid is not None
        and bool(listener.process)
        and listener.container_id is None
        and listener.process not in PORT_HOLDERS
        and not listener.process.startswith(_PORT_HOLDER_PREFIX)
    )


def _may_be_contained(address: Address, port: int, world: World) -> bool:
    if any(address in network for network in world.bridges):
        return True
    return world.is_local(address) and not _is_native(address, port, world)
