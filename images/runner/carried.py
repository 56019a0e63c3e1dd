"""A server in a container of its own: its stdio, as a connection that a carrier there turns into one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.streams.text import TextReceiveStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage

CONNECT_SECONDS = 5.0
# Characters. The longest message that a server may send.
MAX_MESSAGE = 16 * 1024 * 1024

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


@contextlib.asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Streams]:
    """A session's streams, as the SDK's `stdio_client` has them. Raises `OSError` where nobody listens."""
    with anyio.fail_after(CONNECT_SECONDS):
        server = await anyio.connect_tcp(host, port)
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


def _message(line: str) -> SessionMessage | Exception:
    try:
        return SessionMessage(JSONRPCMessage.model_validate_json(line))
    except ValueError as error:
        return error
