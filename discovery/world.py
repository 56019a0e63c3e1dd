"""What is known of this machine in one look: the engine's containers, who listens, which addresses are ours.

Plain values; `engine.py` and `probes/processes.py` fill them in, `ownership.py` and `reach.py` judge by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from reading.addresses import Address


class EngineState(StrEnum):
    """Whether the list of containers can be believed. Only `BROKEN` leaves it open what runs."""

    ABSENT = "absent"
    ANSWERED = "answered"
    BROKEN = "broken"


@dataclass(frozen=True)
class Attachment:
    """A container's place on one network: its addresses there ("" where it has none), the network's gateway and id."""

    ip: str
    gateway: str = ""
    ip6: str = ""
    network_id: str = ""


@dataclass(frozen=True)
class Binding:
    """A port of a container and where it is published; `host_ip` and `host_port` are None where it is not. TCP only."""

    container_port: int
    host_ip: str | None = None
    host_port: int | None = None


@dataclass(frozen=True)
class Container:
    """A container as the engine lists it. `id` is all 64 hex digits; `name` has no leading slash.

    `status` is the engine's state word (`running`, `exited`, …); `health` is healthy, unhealthy, starting or "".
    """

    id: str
    name: str
    image: str
    labels: Mapping[str, str] = field(default_factory=dict)
    status: str = "running"
    health: str = ""
    networks: Mapping[str, Attachment] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """What the engine said. `host` is where its published ports are; `local` is whether that is this machine."""

    state: EngineState
    containers: tuple[Container, ...] = ()
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name -> labels
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    problem: str = ""
    host: str = "127.0.0.1"
    local: bool = True


@dataclass(frozen=True)
class Listener:
    """A TCP socket that listens on this machine. `pid` and `process` are None and "" where we may not know them.

    `user` is its owner where that is another person of this machine, "" otherwise.
    """

    address: Address
    port: int
    pid: int | None = None
    process: str = ""
    container_id: str | None = None
    user: str = ""


@dataclass(frozen=True)
class World:
    """All of it together; `bridges` are the networks behind the engine's own bridges on this machine.

    `host_commands` are the services that commands of this host serve for this stack, by where they listen.
    """

    inventory: Inventory = field(default_factory=lambda: Inventory(EngineState.ABSENT))
    listeners: tuple[Listener, ...] = ()
    addresses: frozenset[Address] = frozenset()
    bridges: tuple[IPv4Network | IPv6Network, ...] = ()
    host_commands: Mapping[tuple[Address, int], str] = field(default_factory=dict)

    def is_local(self, address: Address) -> bool:
        """Whether a connection to `address` stays on this machine's own addresses."""
        return address.is_loopback or address in self.addresses

    def container(self, container_id: str | None) -> Container | None:
        """The listed container with this id."""
        return next((found for found in self.inventory.containers if found.id == container_id), None)
