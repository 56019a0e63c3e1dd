"""Start a command behind its bridge, and wait until it answers; or leave nothing of it and say why."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from discovery import locks
from discovery.locks import LockHeldError
from discovery.readers import lock_format, process_identity
from discovery.readers.host_records import Record
from discovery.readers.lock_format import Lock
from discovery.report import HostLaunch
from host_command import bridge_environment, entry, handshake, processes
from host_command.command import Command
from host_command.failure import HostCommandError

BRIDGE = Path(__file__).resolve().parent / "bridge"
# Seconds from the start to the first answer: a command may fetch what it needs first.
START_SECONDS = 60.0
_ASK_SECONDS = 15.0
_PAUSE = 0.1
_LAST_LINES = 5
_LAST_BYTES = 4096


@dataclass(frozen=True)
class Wanted:
    """What the plan asks for. The bridge listens on `address` and `port` only, and answers to the name `host`."""

    key: str
    fingerprint: str
    run: int
    address: str
    subnet: str
    port: int
    host: str

    def is_met_by(self, record: Record) -> bool:
        there = (record.fingerprint, record.run, record.address, record.port)
        return there == (self.fingerprint, self.run, self.address, self.port)


def start(command: Command, wanted: Wanted, environ: Mapping[str, str], seconds: float = START_SECONDS) -> str:
    """Have the command run as `wanted`; what was done, in one line. Raises `HostCommandError`, `ConfigError`."""
    with command.held():
        launch = entry.read(command, wanted.key, wanted.fingerprint, environ)
        record = command.read()
        if record is not None and record.lives and wanted.is_met_by(record) and _answers(record, _ASK_SECONDS):
            return f"{command.service}: runs already (process {record.pid})"
        python = bridge_environment.ensure(BRIDGE / "requirements.lock", environ)
        processes.end(command, record)
        command.forget()
        with _listener(command, wanted) as listener:
            token = secrets.token_urlsafe(24)
            bridge = _spawn(command, wanted, launch, python=python, listener=listener, token=token, environ=environ)
        try:
            record = _recorded(command, wanted, bridge, token)
            name = _first_answer(command, bridge, record, seconds)
        except BaseException:
            # Interrupted too: nothing half-started may stay.
            processes.end(command, record)
            bridge.wait()
            command.record.unlink(missing_ok=True)
            raise
        return f"{command.service}: {name} runs as process {record.pid}{_claimed(command, record, environ)}"


def _listener(command: Command, wanted: Wanted) -> socket.socket:
    """A socket at the one address. Raises `HostCommandError` saying who has it, or that it is none of this host's."""
    listener = socket.socket(socket.AF_INET6 if ":" in wanted.address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((wanted.address, wanted.port))
    except OSError as error:
        listener.close()
        where = f"{command.service}: {wanted.address} port {wanted.port}"
        if error.errno == errno.EADDRNOTAVAIL:
            raise HostCommandError(
                f"{where}: this host has no such address, so the engine's containers are elsewhere and can't reach a "
                "command of this host; set allowHostCommands to false"
            ) from error
        raise HostCommandError(
            f"{where} is held by {_holder(wanted.port)} ({error.strerror}); stop that, or set another portOffset"
        ) from error
    return listener


def _holder(port: int) -> str:
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "a process that can't be seen"


def _spawn(
    command: Command,
    wanted: Wanted,
    launch: HostLaunch,
    *,
    python: Path,
    listener: socket.socket,
    token: str,
    environ: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """The bridge, in a session of its own, so that no terminal and no end of Pulumi ends it."""
    environment = entry.environment(command, environ)
    order = {
        "command": launch.command,
        "arguments": list(launch.arguments),
        "environment": environment | dict(launch.environment) | {entry.MARK: environment[entry.MARK]},
        "folder": str(Path.home()),
        "listener": listener.fileno(),
        "address": wanted.address,
        "subnet": wanted.subnet,
        "hosts": [f"{wanted.host}:{wanted.port}", f"{wanted.address}:{wanted.port}"],
        "token": token,
        "hidden": [*entry.hidden(launch), token],
        "log": str(command.log),
    }
    log = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        bridge = subprocess.Popen(
            # Isolated: variables meant for the user's own Python change nothing here.
            [python, "-I", BRIDGE / "bridge.py"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=Path.home(),
            env=environment,
            start_new_session=True,
            pass_fds=(listener.fileno(),),
        )
    finally:
        os.close(log)
    assert bridge.stdin is not None
    with bridge.stdin as stdin:
        stdin.write(json.dumps(order).encode())
    return bridge


def _recorded(command: Command, wanted: Wanted, bridge: subprocess.Popen[bytes], token: str) -> Record:
    """The record, written before the command answers: who is interrupted now leaves a trace to follow."""
    born = process_identity.birth(bridge.pid)
    if born is None:
        raise HostCommandError(_ended(command, bridge))
    record = Record(
        pid=bridge.pid,
        birth=born,
        run=wanted.run,
        fingerprint=wanted.fingerprint,
        address=wanted.address,
        port=wanted.port,
        token=token,
    )
    command.write(record)
    return record


def _first_answer(command: Command, bridge: subprocess.Popen[bytes], record: Record, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if bridge.poll() is not None:
            raise HostCommandError(_ended(command, bridge))
        name = handshake.introduces_itself(record.address, record.port, record.token, _ASK_SECONDS)
        if name is not None:
            return name
        time.sleep(_PAUSE)
    raise HostCommandError(
        f"{command.service}: does not answer MCP's initialize within {seconds:g} s; it was stopped"
        f"{_last_lines(command)}"
    )


def _answers(record: Record, seconds: float) -> bool:
    return handshake.introduces_itself(record.address, record.port, record.token, seconds) is not None


def _ended(command: Command, bridge: subprocess.Popen[bytes]) -> str:
    return f"{command.service}: ended by itself (exit code {bridge.wait()}) before it answered{_last_lines(command)}"


def _last_lines(command: Command) -> str:
    """The end of the log, in which the bridge shows no secrets."""
    try:
        lines = command.log.read_bytes()[-_LAST_BYTES:].decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "".join(f"\n  {line}" for line in lines[-_LAST_LINES:])


def _claimed(command: Command, record: Record, environ: Mapping[str, str]) -> str:
    """Tell other tools on this machine who serves; somebody else's claim stands, and both serve their own."""
    endpoint = f"http://{record.address}:{record.port}/mcp"
    lock = Lock(command.service, endpoint, command.project, command.stack, record.pid, time.time())
    try:
        lock_format.parse(lock.to_bytes())
        locks.claim(locks.lock_folder(environ), lock)
    except LockHeldError as error:
        return f"; {error}"
    return ""
