"""What stands where the stack would put its own: ports, containers, networks and volumes held by somebody else.

Found before anything is declared, so that a taken port is an error with its holder's name and not half a stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from catalog import LABEL_PROJECT, LABEL_STACK, container_name
from discovery.report import Obstacle
from discovery.request import Request
from discovery.world import Container, Inventory, Listener, World
from reading.text import one_line

# Listens on the host for a published port. Seen with Engine 20.10: killed in the middle of a container's start, it
# starts one again for that container, and keeps it, and its claim on the port, when the container is removed.
ENGINE_PROXY = "docker-proxy"


def obstacles(request: Request, world: World) -> tuple[Obstacle, ...]:
    """Everything in the way of `request.host_ports` and of the stack's names, in a stable order. Pure."""
    return (
        *_taken_ports(request, world),
        *_taken_containers(request, world.inventory),
        *_taken_names("network", world.inventory.networks, request),
        *_taken_names("volume", world.inventory.volumes, request),
    )


def _taken_ports(request: Request, world: World) -> Iterator[Obstacle]:
    if not world.inventory.local:
        return
    for port in sorted(request.host_ports):
        container = _publisher(port, world.inventory)
        if container is not None and container.id in request.checkpoint.ids:
            continue
        listener = next((found for found in world.listeners if found.port == port and _collides(found)), None)
        remedy = f"stop what holds {port}, or move this stack: pulumi config set portOffset 1000"
        if container is not None and container.status == "running":
            yield Obstacle("port", str(port), f"container {one_line(container.name, 80)}", remedy)
        elif listener is not None and container is None and listener.process == ENGINE_PROXY:
            holder = f"{_described(listener)}, for a container that no longer exists"
            cure = "the engine lost track of it when it was killed; restart the engine: systemctl restart docker"
            yield Obstacle("port", str(port), holder, cure)
        elif listener is not None:
            yield Obstacle("port", str(port), _described(listener), remedy)


def _publisher(port: int, inventory: Inventory) -> Container | None:
    for container in inventory.containers:
        if any(binding.host_port == port for binding in container.bindings):
            return container
    return None


def _collides(listener: Listener) -> bool:
    """Whether a socket keeps us from listening on the loopback: one there, or on every address."""
    return listener.address.is_loopback or listener.address.is_unspecified


def _described(listener: Listener) -> str:
    return f"{one_line(listener.process, 60)} (pid {listener.pid})" if listener.pid else "another user's process"


def _taken_containers(request: Request, inventory: Inventory) -> Iterator[Obstacle]:
    prefix = container_name(request.stack, "")
    for container in inventory.containers:
        if not container.name.startswith(prefix) or container.id in request.checkpoint.ids:
            continue
        yield Obstacle(
            "container",
            container.name,
            f"container {container.id[:12]}, which is not in this stack's state",
            f"remove it: docker rm -f {container.name}",
        )


def _taken_names(kind: str, labels: Mapping[str, Mapping[str, str]], request: Request) -> Iterator[Obstacle]:
    """Networks or volumes of our name without our labels; with them, they are this stack's, kept or left behind."""
    prefix = container_name(request.stack, "")
    for name, marks in sorted(labels.items()):
        ours = marks.get(LABEL_PROJECT) == request.project and marks.get(LABEL_STACK) == request.stack
        if name.startswith(prefix) and not ours:
            yield Obstacle(
                kind, name, f"a {kind} that this project did not make", f"rename or remove it: docker {kind} rm {name}"
            )
