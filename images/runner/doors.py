"""Where containers with servers come to the runner: two sockets in a volume, since they have no network.

A container mounts its volume read-only and connects: by a socket for each of its servers, over which goes the server's
stdio, and by `egress`, which is its only way out. Nothing that it sends says who it is; its volume does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.streams.text import TextReceiveStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage

FOLDER = Path(os.environ.get("RUNNER_DOORS", "/run/doors"))
WAY_OUT = "egress"
# Who installed once says so there: its folder's container can't write.
INSTALLED = "installed"
COME_SECONDS = 30.0
CONNECT_SECONDS = 5.0
# Characters. The longest message that a server may send.
MAX_MESSAGE = 16 * 1024 * 1024
# Bytes, of what a container says before its server speaks.
MAX_WORDS = 64 * 1024
PIECE = 64 * 1024
# Connections of one container to the outside at once.
MOST_CONNECTIONS = 64

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class Door:
    """The sockets of one container, and where its connections go meanwhile."""

    def __init__(self, name: str, document: dict[str, Any], egress: str) -> None:
        self.name = name
        self.servers: tuple[str, ...] = tuple(document["servers"])
        self._folder = FOLDER / name
        self._egress = egress
        self._port: int | None = document["port"]
        self._installing_port: int | None = document["installing_port"]
        self._once: str | None = document["once"]
        self._installing = 0
        self._lent: set[asyncio.Task[None]] = set()
        self._open = 0
        self._listeners: dict[str, Any] = {}

    async def listen(self) -> None:
        """Make the sockets anew; those of an earlier start have nobody behind them."""
        for name in self.servers:
            self._listeners[name] = await anyio.create_unix_listener(self._socket(name), backlog=4)
        await asyncio.start_unix_server(self._carry, self._socket(WAY_OUT))

    def _socket(self, name: str) -> Path:
        path = self._folder / name
        path.unlink(missing_ok=True)
        return path

    async def come(self, name: str) -> SocketStream:
        """The next connection of the server `name`. Raises `TimeoutError`."""
        with anyio.fail_after(COME_SECONDS):
            stream: SocketStream = await self._listeners[name].accept()
            return stream

    @contextlib.contextmanager
    def installing(self) -> Iterator[None]:
        """Meanwhile the container reaches the registries; what it still has open there is closed afterwards.

        Not for who was given its secrets already, and may not go everywhere: it could send them there.
        """
        if self._once is not None and self._was_installed() == self._once:
            yield
            return
        self._installing += 1
        try:
            yield
        finally:
            self._installing -= 1
            if not self._installing:
                for task in self._lent:
                    task.cancel()

    def installed(self) -> None:
        """Its packages are there: from now on it is given its secrets."""
        if self._once is not None:
            (self._folder / INSTALLED).write_text(self._once)

    def _was_installed(self) -> str | None:
        with contextlib.suppress(OSError):
            return (self._folder / INSTALLED).read_text()
        return None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the container, to squid's port for what it does at the moment; without one it is closed."""
        lent = bool(self._installing)
        port = self._installing_port if lent else self._port
        task = asyncio.current_task()
        assert task is not None
        self._open += 1
        if lent:
            self._lent.add(task)
        try:
            if port is not None and self._open <= MOST_CONNECTIONS:
                async with asyncio.timeout(CONNECT_SECONDS):
                    inward, outward = await asyncio.open_connection(self._egress, port)
                await _both(reader, outward, inward, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._open -= 1
            self._lent.discard(task)
            writer.close()


async def _both(
    reader: asyncio.StreamReader,
    outward: asyncio.StreamWriter,
    inward: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pass_on(reader, outward))
            tasks.create_task(_pass_on(inward, writer))
    except* OSError:
        pass
    finally:
        outward.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def doors_of(file: Path) -> list[Door]:
    """`{"egress", "containers": {NAME: {"servers", "port", "installing_port", "once"}}}`, as it was deployed."""
    document = json.loads(file.read_text(encoding="utf-8"))
    return [Door(name, told, document["egress"]) for name, told in sorted(document["containers"].items())]


async def say(stream: SocketStream, document: dict[str, Any]) -> None:
    """One line to the container."""
    await stream.send(json.dumps(document).encode() + b"\n")


async def hear(stream: SocketStream) -> dict[str, Any]:
    """One line of the container, which then waits for the next. Raises `ValueError`, or anyio's errors of streams."""
    line = await BufferedByteReceiveStream(stream).receive_until(b"\n", MAX_WORDS)
    told = json.loads(line)
    if not isinstance(told, dict):
        raise ValueError("its container says what is no object")
    return told


@contextlib.asynccontextmanager
async def speaking(server: SocketStream, last_words: list[str]) -> AsyncIterator[Streams]:
    """A session's streams, as the SDK's `stdio_client` has them. What its container says last goes to `last_words`."""
    heard: tuple[
        MemoryObjectSendStream[SessionMessage | Exception], MemoryObjectReceiveStream[SessionMessage | Exception]
    ]
    heard = anyio.create_memory_object_stream(0)
    said: tuple[MemoryObjectSendStream[SessionMessage], MemoryObjectReceiveStream[SessionMessage]]
    said = anyio.create_memory_object_stream(0)

    async def read() -> None:
        rest = ""
        async with heard[0]:
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                async for text in TextReceiveStream(server, errors="replace"):
                    *lines, rest = (rest + text).split("\n")
                    for line in lines:
                        if line.startswith(ENDED):
                            last_words.append(_last_words(line))
                            return
                        await heard[0].send(_message(line))
                    if len(rest) > MAX_MESSAGE:
                        return

    async def write() -> None:
        async with said[1]:
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                async for message in said[1]:
                    text = message.message.model_dump_json(by_alias=True, exclude_none=True)
                    await server.send((text + "\n").encode())

    async with server, anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        try:
            yield heard[1], said[0]
        finally:
            tasks.cancel_scope.cancel()
            for stream in (heard[1], said[0]):
                stream.close()


# No message of JSON-RPC begins so.
ENDED = '{"ended": '


def _last_words(line: str) -> str:
    try:
        return str(json.loads(line)["ended"])
    except (ValueError, KeyError, TypeError):
        return ""


def _message(line: str) -> SessionMessage | Exception:
    try:
        return SessionMessage(JSONRPCMessage.model_validate_json(line))
    except ValueError as error:
        return error
