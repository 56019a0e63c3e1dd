"""Candidates from processes that listen, on whatever port; and who listens where, which tells whose a port is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

import psutil

from catalog import FINDABLE, MODELS, scheme_of
from discovery.readers import socket_owners
from discovery.report import Candidate, Source
from discovery.request import Gathered, Request
from discovery.world import Listener
from reading.addresses import Address, plain_address
from reading.text import one_line

PROGRAMS: Mapping[str, str] = {program: service.name for service in FINDABLE.values() for program in service.programs}
# A server that is a script runs inside one of these, and its own name is among the arguments.
RUNTIMES = frozenset({"node", "bun", "deno", "uv", "uvx", "mcp-proxy"})
_PYTHON = re.compile(r"python(?:[0-9](?:\.[0-9]{1,2})?)?")
_SUFFIXES = (".py", ".js", ".mjs", ".cjs", ".ts")
_CONTAINER = re.compile(r"[0-9a-f]{64}")
_MAX_WORDS = 1000
_MAX_PARTS = 16
_MAX_CANDIDATES = 200

T = TypeVar("T")


@dataclass(frozen=True)
class Program:
    """What is known of a process: the kernel's name for it, and its arguments and folder where we may read them."""

    name: str
    arguments: tuple[str, ...] = ()
    folder: str = ""
    container_id: str | None = None


def processes(request: Request) -> Gathered:
    """Candidates at the sockets of programs known by name. What may not be read is unknown, not absent."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError, RuntimeError) as error:
        return Gathered(warnings=(f"who listens on this machine is unknown ({error.__class__.__name__})",))
    sockets = sorted(
        {
            (connection.laddr.ip, connection.laddr.port, connection.pid)
            for connection in connections
            if connection.laddr and connection.status == psutil.CONN_LISTEN
        },
        key=str,
    )
    programs = {pid: _program(pid) for _, _, pid in sockets if pid is not None}
    people = socket_owners.other_people(request.home)
    listeners: list[Listener] = []
    found: list[Candidate] = []
    for ip, port, pid in sockets:
        address = plain_address(ip)
        if address is None:
            continue
        program = programs.get(pid) if pid is not None else None
        listeners.append(_listener(address, port, pid, program, people.get((address, port), "")))
        service = service_of(program) if program else None
        if program and service and not address.is_link_local:
            evidence = f"process {one_line(program.name, 40)} on port {port}"
            endpoint = f"{scheme_of(service)}://{_reachable(address)}:{port}"
            found.append(Candidate(service, Source.EXTERNAL, endpoint, evidence, program.container_id))
    distinct = tuple(dict.fromkeys(found))
    cut = f"{len(distinct)} sockets of programs known by name; only the first {_MAX_CANDIDATES} are looked at"
    warnings = (cut,) if len(distinct) > _MAX_CANDIDATES else ()
    return Gathered(distinct[:_MAX_CANDIDATES], warnings, listeners=tuple(listeners))


def service_of(program: Program) -> str | None:
    """The service a program runs, by whole names only, or None."""
    # A server may rewrite its arguments into one line: "redis-server 127.0.0.1:6380".
    command = next(words_of(program.arguments[:1]), "").split(" ", 1)[0]
    for name in (program.name, command):
        if name in PROGRAMS:
            return PROGRAMS[name]
    if program.name in RUNTIMES or _PYTHON.fullmatch(program.name) or command in RUNTIMES:
        words = words_of((*program.arguments, program.folder))
        return next((service for word in words if (service := _SCRIPTS.get(word))), None)
    return _SCRIPTS.get(program.name)


def words_of(arguments: Iterable[str]) -> Iterator[str]:
    """Each part of each argument's path, the last first, without a script's suffix.

    A server is called by its script, or by the checkout that the script lies in.
    """
    for argument in list(arguments)[:_MAX_WORDS]:
        for part in reversed(PurePath(argument[:1024]).parts[-_MAX_PARTS:]):
            word = part.lower()
            yield next((word.removesuffix(suffix) for suffix in _SUFFIXES if word.endswith(suffix)), word)


def container_of(cgroup: str) -> str | None:
    """The container a process runs in by the text of its `/proc/PID/cgroup`, or None."""
    return next(iter(_CONTAINER.findall(cgroup)), None)


_SCRIPTS: Mapping[str, str] = {
    name: service.name
    for service in FINDABLE.values()
    for name in (*service.identities, *service.images)
    # "zen" and "pal" are other people's words too.
    if service.identities and ("-" in name)
} | dict.fromkeys(MODELS.programs, MODELS.name)


def _program(pid: int) -> Program | None:
    try:
        process = psutil.Process(pid)
        name = process.name()
    except psutil.Error:
        return None
    return Program(name, tuple(_readable(process.cmdline, list[str]())), _readable(process.cwd, ""), _container_id(pid))


def _readable(read: Callable[[], T], otherwise: T) -> T:
    try:
        return read()
    except (psutil.Error, OSError):
        return otherwise


def _container_id(pid: int) -> str | None:
    try:
        return container_of(Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None


def _listener(address: Address, port: int, pid: int | None, program: Program | None, user: str) -> Listener:
    if program is None:
        return Listener(address, port, pid, user=user)
    return Listener(address, port, pid, program.name, program.container_id, user)


def _reachable(address: Address) -> str:
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return str(address) if address.version == 4 else f"[{address}]"
