"""`python` without waiting for imports: a process that has loaded what is run forks for each run.

Half of what many tests cost is starting an interpreter and importing, and there are hundreds of them. What a run sees
is the same: its own arguments, environment, output, if asked its own mounts and network namespace, and an interpreter
that ends in its own good order. Some tests start cold all the same: of the command line, of altered programs, of
memory, of containers.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

_ROOT = Path(__file__).resolve().parent.parent
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000  # linux/sched.h
_MS_BIND, _MS_PRIVATE_RECURSIVELY = 4096, (1 << 18) | (1 << 14)  # linux/mount.h


class WarmRun:
    """One run under way: what `subprocess.Popen` would tell of it, in its words."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        told = b""
        # No more than the line: the exit code of a short run may stand behind it already.
        while not told.endswith(b"\n"):
            told += connection.recv(1) or _ended()
        self.pid = int(told)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None before the end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, after at most `timeout` seconds; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._connection.recv(16))
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from error
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens where the run has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _ended() -> NoReturn:
    raise ChildProcessError("the warm interpreter has ended; its own words are above")


class WarmPython:
    """An interpreter, in the project's folder, that has imported `modules`.

    It ends with `close`, or with whoever made it; its runs go on.
    """

    def __init__(self, *modules: str) -> None:
        self._control, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with served:
            command = [sys.executable, "-m", "tests.warm", str(served.fileno()), *modules]
            self._process = subprocess.Popen(command, cwd=_ROOT, pass_fds=[served.fileno()])

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdout: IO[bytes],
        stderr: IO[bytes],
        mounts: Sequence[tuple[str, str]] | None = None,
        folder: Path = _ROOT,
    ) -> WarmRun:
        """Run `python ARGUMENTS`: `-m MODULE …` or `FILE …`.

        With `mounts`, in the calling thread's network namespace, and with each file mounted over another. In another
        `folder` than the project's, what is imported from there is not the project's own, loaded or not.
        """
        connection, served = socket.socketpair()
        with served, Path("/proc/thread-self/ns/net").open("rb") as namespace:
            descriptors = [served.fileno(), stdout.fileno(), stderr.fileno(), namespace.fileno()]
            socket.send_fds(self._control, [b"run"], descriptors)
        request = {
            "arguments": arguments,
            "environment": dict(environment),
            "mounts": mounts,
            "folder": str(folder),
        }
        connection.sendall(json.dumps(request).encode() + b"\n")
        return WarmRun(connection)

    def close(self) -> None:
        self._control.close()
        self._process.wait()


@cache
def servers_python() -> WarmPython:
    """The one for the gateway and its neighbours, which `conftest.py` ends."""
    return WarmPython("gateway.__main__", "mcp.server.mcpserver", "uvicorn", "prometheus_client", "qdrant_edge")


def _serve(control: socket.socket, modules: Sequence[str]) -> None:
    """Fork for each request; only the run itself returns from here, to be what the interpreter ends with."""
    measured = _measured()
    for name in modules:
        importlib.import_module(name)
        if name.endswith(".__main__"):
            # It is what runs, under another name; `runpy` wants it unknown.
            del sys.modules[name]
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then buries those that wait for a run
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, 16, 4)
        if not asked:
            return
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    control.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection = socket.socket(fileno=descriptors[0])
    with connection.makefile("r") as lines:
        request = json.loads(lines.readline())
    if run := os.fork():
        connection.sendall(f"{run}\n".encode())
        _, status = os.waitpid(run, 0)
        # Whoever asked may have gone.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    atexit.register(measured)
    _become(request, descriptors[1:])
    _run(request["arguments"])


def _measured() -> Callable[[], None]:
    """What a run does at its end where coverage is measured: tell which lines ran, where SlipCover finds it.

    Its pytest plugin measures the workers of xdist, and says in the environment how.
    """
    folder = os.environ.get("SLIPCOVER_COVERAGE_DIR")
    if folder is None:
        return lambda: None
    slipcover = importlib.import_module("slipcover")
    # What it does otherwise, looking for probes to remove and for comments that exclude lines, is long for a short run.
    coverage = slipcover.Slipcover(immediate=True, exclude_lines=[])
    slipcover.ImportManager(coverage, slipcover.FileMatcher(os.environ["SLIPCOVER_SOURCE"].split(","))).__enter__()

    def tell() -> None:
        told = coverage.get_coverage()
        if told["files"]:
            Path(folder, f"coverage-gw-warm-{os.getpid()}.json").write_text(json.dumps(told))

    return tell


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Leave this process with nothing of the server's but the loaded modules."""
    stdout, stderr, namespace = descriptors
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    if request["mounts"] is not None:
        libc = ctypes.CDLL(None, use_errno=True)
        _must(libc.setns(namespace, _CLONE_NEWNET))
        _must(libc.unshare(_CLONE_NEWNS))
        _must(libc.mount(None, b"/", None, _MS_PRIVATE_RECURSIVELY, None))
        for file, over in request["mounts"]:
            _must(libc.mount(os.fsencode(file), os.fsencode(over), None, _MS_BIND, None))
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if Path(request["folder"]) != _ROOT:
        _forget_the_project()


def _forget_the_project() -> None:
    """Nothing is loaded from the project's folder, nor will be; what is installed stays, wherever it is."""
    sys.path[:] = [entry for entry in sys.path if Path(entry) != _ROOT]
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "/")
        if name != "__main__" and file.is_relative_to(_ROOT) and not file.relative_to(_ROOT).parts[0].startswith("."):
            del sys.modules[name]


def _must(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(arguments: Sequence[str]) -> None:
    """What the interpreter's own command line does: the program's folder first on the path, whatever is there now."""
    first, *rest = arguments
    if first == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(first).parent))
        sys.argv = list(arguments)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
