"""Peers on the loopback for the tests of the wire and the fingerprints: each a handler of raw bytes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from discovery.fingerprints.answer import Answer, Fingerprint
from discovery.request import Credential
from discovery.wire import Place, Wire

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Page = tuple[int, Mapping[str, str], str]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free loopback port, for as long as the context lasts."""

    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await handler(reader, writer)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        # Connections that were accepted in the same turn of the loop become tasks in the next one.
        await asyncio.sleep(0)
        for task in tasks.copy():
            task.cancel()
        await asyncio.gather(*tasks.copy())
        await asyncio.sleep(0)


def saying(data: bytes) -> Handler:
    """Reads what it is first told, says `data`, and hangs up."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(data)
        await writer.drain()

    return handler


def silent() -> Handler:
    """Accepts, and never answers."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        await asyncio.Event().wait()

    return handler


def pages(site: Mapping[str, Page], seen: list[str] | None = None, missing: Page = (404, {}, "")) -> Handler:
    """An HTTP server of fixed pages by `METHOD path`; appends each request's head to `seen`."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if seen is not None:
            seen.append(head)
        method, path, _ = head.split(" ", 2)
        status, headers, body = site.get(f"{method} {path}", missing)
        lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
        lines.append(f"Content-Length: {len(body.encode())}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        await writer.drain()

    return handler


def page(document: object, status: int = 200) -> Page:
    """A JSON page."""
    return status, {"Content-Type": "application/json"}, json.dumps(document)


async def asked(
    fingerprint: Fingerprint,
    handler: Handler,
    *,
    scheme: str = "http",
    path: str = "",
    credential: Credential | None = None,
    seconds: float = 5.0,
) -> Answer:
    """What a fingerprint makes of a peer, within `seconds`."""
    async with serving(handler) as port, asyncio.timeout(seconds):
        return await fingerprint(Wire(Place(scheme, "127.0.0.1", port, path), ("127.0.0.1",)), credential)
