"""The machine's npm registry, where containers of a private engine can reach it; it can be taken away."""

from __future__ import annotations

import http.server
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.engine.private_engine import PrivateEngine
from tests.journeys.serving import serving
from tests.scenarios.namespace import outside

_PASSED_ON = ("Content-Type", "ETag", "Last-Modified")


def registry_of_this_machine() -> str:
    """What npm is configured with here, without a slash at its end."""
    told = subprocess.run(["npm", "config", "get", "registry"], check=True, capture_output=True, text=True)
    return told.stdout.strip().rstrip("/")


@contextmanager
def npm_mirror(engine: PrivateEngine) -> Iterator[str]:
    """The address at which the engine's containers find the registry, for as long as this lasts."""
    upstream = registry_of_this_machine()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = outside(lambda: _fetch(upstream + self.path, self.headers.get("Accept", "*/*")))
            # Packages name the place of their archives.
            own = f"http://{self.headers['Host']}".encode()
            body = body.replace(upstream.encode(), own) if headers.get("Content-Type", "").endswith("json") else body
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(engine, Handler) as address:
        yield address


def _fetch(url: str, accept: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            kept = {name: answer.headers[name] for name in _PASSED_ON if answer.headers[name]}
            return answer.status, kept, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {}, error.read()
