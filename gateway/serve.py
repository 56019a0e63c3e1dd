"""Both ports in one process, started together and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping

import uvicorn
from starlette.types import ASGIApp

# Docker kills after 10 s; runs under way get most of that.
GRACE_SECONDS = 5


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
