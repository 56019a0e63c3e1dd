"""A replica that tells what reached it; run in a container, standard library only, on the application's two ports."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self._echo_bytes()
        elif self.path == "/api/events" or self.headers.get("Accept") == "text/event-stream":
            self._one_event()
        else:
            self._tell()

    do_POST = do_GET

    def _tell(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = {
            "replica": socket.gethostname(),
            "path": self.path,
            "headers": dict(self.headers.items()),
            "length": len(body),
        }
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Frame-Options", "the application's")
        self.end_headers()
        self.wfile.write(answer)

    def _one_event(self) -> None:
        """One event, and then silence for as long as the other side stays."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.rfile.read(1)

    def _echo_bytes(self) -> None:
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.end_headers()
        self.wfile.write(self.rfile.readline())
        self.close_connection = True


class Server(ThreadingHTTPServer):
    # As many may wait as at the real gateway's door: Python's 5 turn away a crowd that a busy machine takes up late.
    request_queue_size = 128


servers = [Server(("", port), Echo) for port in (7860, 7862)]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
