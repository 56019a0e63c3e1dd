"""Both ports in one process, started together and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping
from typing import Any, cast

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.errors import error_response

# Docker kills after 10 s; runs under way get most of that.
GRACE_SECONDS = 5


class _Together:
    """A transport that sends in one piece what is written during one turn of the event loop.

    Uvicorn writes an answer's head and body one after the other. Whoever is killed between them leaves the load
    balancer with half an answer, which it can neither complete nor ask another replica for.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        written, self._written = b"".join(self._written), []
        if written:
            self._transport.write(written)


class _Protocol(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Together(transport, self.loop)))

    def send_400_response(self, msg: str) -> None:
        # Uvicorn says it in plain text.
        answer = error_response(400, "bad_request", msg)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # One handler ends both servers; each by itself would take the signal from the other.
        yield


async def serve(host: str, apps: Mapping[int, ASGIApp], stopping: asyncio.Event) -> None:
    """Serves each app on its port until SIGTERM or SIGINT; sets `stopping` as soon as the signal comes."""
    servers = [
        _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=_Protocol,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        for port, app in apps.items()
    ]

    def stop() -> None:
        stopping.set()
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await asyncio.gather(*(server.serve() for server in servers))
