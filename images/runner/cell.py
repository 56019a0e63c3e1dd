"""What runs in a container of servers: it has no network, installs and starts what the runner says, and hands it over.

Its folder of sockets is all that it shares with the runner (doors.py). A server's stdio *is* its socket, so nothing
here stands between the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import packages
from json_lines import log_as

log = logging.getLogger(__name__)

DOOR = Path(os.environ.get("CELL_DOOR", "/run/door"))
# socat, for what knows a proxy: on this container's loopback, to the one way out.
WAY_OUT = os.environ.get("CELL_WAY_OUT", "").split()
PUBLIC_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
AUTHORITIES = Path("/tmp/authorities.pem")
PAUSE = 1.0
END_SECONDS = 2.0
# What the servers of one container wait for each other's installers, once.
TOGETHER_SECONDS = 240.0
# Characters of what a server said last that its runner is told.
MAX_LAST_WORDS = 300


class Together:
    """Lets the first server start when packages of all were tried: an installer needs the memory of two servers."""

    def __init__(self, names: list[str]) -> None:
        self._left = set(names)
        self._tried = asyncio.Event()

    def tried(self, name: str) -> None:
        """The server's packages are there, or can't be had."""
        self._left.discard(name)
        if not self._left:
            self._tried.set()

    async def all(self) -> None:
        """Returns when all were tried."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TOGETHER_SECONDS):
                await self._tried.wait()


async def keep(name: str, together: Together) -> None:
    """Connect the server `name` with the runner, again and again."""
    while True:
        with contextlib.suppress(OSError, EOFError, ValueError):
            await once(name, together)
        await asyncio.sleep(PAUSE)


async def once(name: str, together: Together) -> None:
    """One connection: install, say so, start, until either end is gone. Raises `OSError`, `EOFError`, `ValueError`."""
    with socket.socket(socket.AF_UNIX) as runner:
        await asyncio.to_thread(runner.connect, str(DOOR / name))
        wanted = await told(runner)
        try:
            command = await installed(wanted)
        except packages.PackageError as error:
            await say(runner, {"problem": str(error)})
            return
        finally:
            together.tried(name)
        await together.all()
        await say(runner, {"installed": True})
        said = await run(name, runner, command, await told(runner))
        await say(runner, {"ended": said})


async def told(runner: socket.socket) -> dict[str, Any]:
    """One line of the runner's, and not a byte more: what follows is for the server."""
    with runner.makefile("rb", buffering=0) as lines:
        line = await asyncio.to_thread(lines.readline)
    if not line.endswith(b"\n"):
        raise EOFError
    document: dict[str, Any] = json.loads(line)
    return document


async def say(runner: socket.socket, document: dict[str, Any]) -> None:
    await asyncio.to_thread(runner.sendall, json.dumps(document).encode() + b"\n")


async def installed(wanted: dict[str, Any]) -> packages.Command:
    """How to start it, once it is installed. Raises `PackageError`."""
    named = packages.Wanted(wanted["package"], tuple(wanted["beside"]), tuple(wanted["options"]))
    install = packages.npm_package if wanted["program"] == "npx" else packages.python_package
    return await install(named, wanted["binary"])


async def run(name: str, runner: socket.socket, command: packages.Command, starts: dict[str, Any]) -> str:
    """Start the server with its arguments and variables, and wait until it or the runner is gone. Its last words."""
    hidden = [text for text in (*starts["environment"].values(), *starts["arguments"]) if len(text) > 3]
    hidden.sort(key=len, reverse=True)
    # Neither the command line nor the environment that the kernel shows of a process holds them: a module that is
    # loaded before the server's own program reads them there (preload/).
    file = os.memfd_create("server")
    os.write(file, json.dumps(starts).encode())
    variables = {"PROMPTCRAFT_SERVER_FILE": f"/proc/self/fd/{file}"}
    try:
        child = await asyncio.create_subprocess_exec(
            command.program, *command.arguments,
            stdin=runner.fileno(), stdout=runner.fileno(), stderr=asyncio.subprocess.PIPE,
            env={**packages.environment(), **packages.way_out(), **command.environment, **variables},
            cwd="/tmp", pass_fds=(file,), start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(file)
    last = [""]
    reading = asyncio.create_task(errors(name, child, hidden, last))
    gone = asyncio.create_task(until_gone(runner))
    ended = asyncio.create_task(child.wait())
    await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
    await end(child)
    gone.cancel()
    # What a server leaves running may hold its stderr.
    await asyncio.wait({reading}, timeout=END_SECONDS)
    reading.cancel()
    return last[0][:MAX_LAST_WORDS]


async def errors(name: str, child: asyncio.subprocess.Process, hidden: list[str], last: list[str]) -> None:
    """Log what the server says on stderr, without what is hidden."""
    assert child.stderr is not None
    rest = b""
    while piece := await child.stderr.read(65536):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > 65536:
            lines, rest = [*lines, rest], b""
        for line in lines:
            _said(name, line, hidden, last)
    _said(name, rest, hidden, last)


def _said(name: str, line: bytes, hidden: list[str], last: list[str]) -> None:
    text = line.decode(errors="replace")
    for secret in hidden:
        text = text.replace(secret, "[hidden]")
    if shown := " ".join(text.split())[:MAX_LAST_WORDS]:
        last[0] = shown
        log.debug("said", extra={"server": name, "line": shown})


async def until_gone(runner: socket.socket) -> None:
    """Returns when the runner has closed its end. The server reads the socket, so nothing is read here."""
    gone = asyncio.Event()
    with select.epoll() as poll:
        poll.register(runner.fileno(), select.EPOLLRDHUP)
        asyncio.get_running_loop().add_reader(poll.fileno(), gone.set)
        try:
            await gone.wait()
        finally:
            asyncio.get_running_loop().remove_reader(poll.fileno())


async def end(child: asyncio.subprocess.Process) -> None:
    """End the server with all that it started, first kindly."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, how)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await child.wait()


def trust() -> None:
    """Let programs that know one file of authorities only (uv, Python) trust the deployment's as Node does."""
    extra = os.environ.get("NODE_EXTRA_CA_CERTS")
    if extra:
        AUTHORITIES.write_bytes(PUBLIC_AUTHORITIES.read_bytes() + b"\n" + Path(extra).read_bytes())
        os.environ["SSL_CERT_FILE"] = str(AUTHORITIES)


async def main() -> int:
    """Runs until the way out is gone, which ends the container: the engine starts it again."""
    trust()
    way_out = await asyncio.create_subprocess_exec(*WAY_OUT)
    together = Together(sys.argv[1:])
    servers = [asyncio.create_task(keep(name, together)) for name in sys.argv[1:]]
    code = await way_out.wait()
    for server in servers:
        server.cancel()
    return code or 1


if __name__ == "__main__":
    log_as("server")
    sys.exit(asyncio.run(main()))
