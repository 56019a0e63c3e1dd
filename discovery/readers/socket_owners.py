"""Whose the sockets are that listen on this machine, by the kernel's own table: it tells of everybody's."""

from __future__ import annotations

import pwd
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from reading import safe_files
from reading.addresses import Address, plain_address

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"  # TCP_LISTEN of the kernel's net/tcp_states.h
# The accounts of people: UID_MIN and UID_MAX of login.defs(5). Below are daemons', above containers' and nobody.
_PEOPLE = range(1000, 60001)


def other_people(home: Path) -> dict[tuple[Address, int], str]:
    """By address and port of a listening socket the name of its owner, where that is another person of this machine.

    Not root, nor whoever runs this, nor the owner of `home`. Empty where the kernel has no such table.
    """
    if not sys.platform.startswith("linux"):
        return {}
    own = safe_files.owners_of(home)
    return {place: _name(uid) for place, uid in _listening() if uid in _PEOPLE and uid not in own}


def _listening() -> Iterator[tuple[tuple[Address, int], int]]:
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii", errors="replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            #   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 67890 1 …
            _, local, _, state, _, _, _, uid, *_ = line.split()
            if state == _LISTENS and (place := _place(local)) is not None:
                yield place, int(uid)


def _place(text: str) -> tuple[Address, int] | None:
    """`0100007F:1F90` as an address and a port: words of the machine's own order, and a number."""
    words, _, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    address = plain_address(str(ip_address(socket.inet_ntop(family, packed))))
    return (address, int(port, 16)) if address is not None else None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
