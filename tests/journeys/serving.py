"""A small web server of the tests where containers of a private engine reach it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.engine.private_engine import PrivateEngine


@contextmanager
def serving(engine: PrivateEngine, handler: Callable[..., Any]) -> Iterator[str]:
    """The address, for as long as this lasts, at which `handler` (of `http.server`) answers the engine's containers."""
    bridge = engine.bridge
    server = engine.namespace.run(lambda: http.server.ThreadingHTTPServer((bridge, 0), handler))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{bridge}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
