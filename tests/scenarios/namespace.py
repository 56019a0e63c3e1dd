"""Network namespaces by thread: a thread that leaves the host's namespace takes its sockets and children along."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from .unavailable import Unavailable

_CLONE_NEWNET = 0x40000000  # linux/sched.h

# Threads here leave namespaces while others start programs, and now and then an exec after a vfork met EFAULT.
# Python's documentation of subprocess names this switch for such troubles.
subprocess._USE_VFORK = False  # type: ignore[misc]
_libc = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")

_HOST = os.open("/proc/self/ns/net", os.O_RDONLY)


class Namespace:
    """A network namespace that holds nothing but a loopback device. Raises `Unavailable` without CAP_SYS_ADMIN."""

    def __init__(self) -> None:
        self._descriptor = -1
        in_thread(self._create)

    def _create(self) -> None:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise Unavailable(f"no network namespace: {os.strerror(ctypes.get_errno())} (run as root)")
        ip("link", "set", "lo", "up")
        self._descriptor = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)

    def run(self, function: Callable[[], Result]) -> Result:
        """Call `function` in a new thread that lives inside this namespace."""

        return _inside(self._descriptor, function)

    def wire(self, other: Namespace, here: str, there: str) -> None:
        """Lay a cable to another namespace: `here` and `there` are the addresses of its ends, with prefix lengths."""
        end = f"/proc/{os.getpid()}/fd/{other._descriptor}"
        self.run(lambda: ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", end))
        for namespace, address in ((self, here), (other, there)):
            namespace.run(partial(ip, "address", "add", address, "dev", "cable"))
            namespace.run(partial(ip, "link", "set", "cable", "up"))

    def close(self) -> None:
        """Let go of the namespace; the kernel removes it after its last process."""
        os.close(self._descriptor)


def outside(function: Callable[[], Result]) -> Result:
    """Call `function` where the tests were started, from wherever the calling thread is."""
    return _inside(_HOST, function)


def _inside(namespace: int, function: Callable[[], Result]) -> Result:
    def inside() -> Result:
        if _libc.setns(namespace, _CLONE_NEWNET) != 0:
            raise Unavailable(f"no way into a network namespace: {os.strerror(ctypes.get_errno())} (run as root)")
        return function()

    return in_thread(inside)


def in_thread(function: Callable[[], Result]) -> Result:
    """Call `function` in a thread made for it, and hand back its result or its exception."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def ip(*arguments: str) -> None:
    """Run `ip` in the calling thread's namespace."""
    path = next((p for p in ("/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip") if Path(p).exists()), None)
    if path is None:
        raise Unavailable("no ip command (install iproute2)")
    subprocess.run([path, *arguments], check=True, capture_output=True)


def another_host(address: str) -> None:
    """Let servers of this namespace bind `address`, which stays no address of this machine for whoever asks."""
    ip("route", "add", "local", address, "dev", "lo")
