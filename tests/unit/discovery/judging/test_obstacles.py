"""Who holds a port that the stack needs, and what to do about it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from discovery.judging.obstacles import obstacles
from discovery.request import Request
from discovery.world import EngineState, Inventory, Listener, World

REQUEST = Request(Path("/project"), Path("/home"), "dev", "promptcraft-hybrid", {}, host_ports=(8000,))


def held_by(process: str, address: str = "127.0.0.1") -> World:
    listener = Listener(ip_address(address), 8000, 7, process)
    return World(Inventory(EngineState.ANSWERED), (listener,))


def test_a_strangers_process_is_named() -> None:
    (found,) = obstacles(REQUEST, held_by("python"))
    assert found.holder == "python (pid 7)"
    assert "portOffset" in found.remedy


def test_a_port_that_a_killed_engine_kept_is_told_from_a_strangers() -> None:
    (found,) = obstacles(REQUEST, held_by("docker-proxy"))
    assert found.holder == "docker-proxy (pid 7), for a container that no longer exists"
    assert "restart the engine" in found.remedy


def test_a_socket_on_another_address_is_not_in_the_way() -> None:
    assert obstacles(REQUEST, held_by("python", "192.0.2.1")) == ()
