"""`python -m discovery` without waiting for its imports: a process that has loaded the program forks for each run.

Half of what a scenario costs is starting an interpreter and importing, and there are hundreds of scenarios. What a run
sees is the same: its own arguments, environment, network namespace, mounts and output, and an interpreter that ends in
its own good order. `test_command_line.py`, and every altered program, start cold.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .debian import REPOSITORY

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000  # linux/sched.h
_MS_BIND, _MS_PRIVATE_RECURSIVELY = 4096, (1 << 18) | (1 << 14)  # linux/mount.h
_LARGEST_REQUEST = 1 << 20


class WarmRun:
    """One run under way: what `subprocess.Popen` would tell of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("r")
        self.pid = int(self._lines.readline())
        connection.setblocking(False)
        self.returncode = 0

    def poll(self) -> int | None:
        """The exit code, None before the end."""
        with contextlib.suppress(BlockingIOError):
            self.returncode = int(self._connection.recv(16))
            self._lines.close()
            self._connection.close()
            return self.returncode
        return None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class WarmProgram:
    """The loaded program; `close` ends it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="promptcraft-warm-")
        self._path = f"{self._folder.name}/socket"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._path)
        listener.listen(64)
        with listener:
            command = [sys.executable, "-m", "tests.scenarios.warm", str(listener.fileno())]
            self._process = subprocess.Popen(command, cwd=REPOSITORY, pass_fds=[listener.fileno()])

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[tuple[str, str]],
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> WarmRun:
        """Run `python -m discovery` in the calling thread's network namespace, with each file mounted over another."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        request = json.dumps({"arguments": arguments, "environment": environment, "mounts": mounts}).encode()
        assert len(request) < _LARGEST_REQUEST
        with Path("/proc/thread-self/ns/net").open("rb") as namespace:
            descriptors = [stdout.fileno(), stderr.fileno(), namespace.fileno()]
            socket.send_fds(connection, [request + b"\n"], descriptors)
        return WarmRun(connection)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


def _serve(listener: socket.socket) -> None:
    """Fork for each connection; only the run itself returns, to be what the interpreter ends with."""
    from discovery import __main__ as command

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then buries those that wait for a run
    while True:
        connection, _ = listener.accept()
        if os.fork() != 0:
            connection.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        request, descriptors = _received(connection)
        if run := os.fork():
            connection.sendall(f"{run}\n".encode())
            _, status = os.waitpid(run, 0)
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
        connection.close()
        _become(request, descriptors)
        command._STARTED = time.monotonic()
        sys.exit(command.main(request["arguments"]))


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, descriptors, _, _ = socket.recv_fds(connection, _LARGEST_REQUEST, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(_LARGEST_REQUEST)
    request: dict[str, Any] = json.loads(data)
    return request, descriptors


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Leave this process with nothing of the server's but the loaded program."""
    stdout, stderr, namespace = descriptors
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    libc = ctypes.CDLL(None, use_errno=True)
    _must(libc.setns(namespace, _CLONE_NEWNET))
    _must(libc.unshare(_CLONE_NEWNS))
    _must(libc.mount(None, b"/", None, _MS_PRIVATE_RECURSIVELY, None))
    for file, over in request["mounts"]:
        _must(libc.mount(os.fsencode(file), os.fsencode(over), None, _MS_BIND, None))
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(request["environment"])


def _must(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    # As `python -m discovery` has it: the program's folder first, whatever imports this module.
    sys.path.insert(0, str(Path.cwd()))
    _serve(socket.socket(fileno=int(sys.argv[1])))
