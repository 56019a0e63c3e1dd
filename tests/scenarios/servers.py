"""Servers in threads: whatever a test puts behind a TCP port, and a record of what reached it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Talk = Callable[["Connection"], None]

_HEAD_LIMIT = 1 << 20
_START_SECONDS = 10.0


@dataclass
class Connection:
    """One accepted connection; all that is read from it is recorded by its server."""

    socket: socket.socket
    record: Callable[[bytes], None]
    stop: threading.Event

    def read(self, size: int = 65536) -> bytes:
        """Some bytes, or none when the peer has gone."""
        data = self.socket.recv(size)
        self.record(data)
        return data

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self, seconds: float) -> bool:
        """Pause; False once the server is to stop."""
        return not self.stop.wait(seconds)


class Server:
    """Listens on one address and lets `talk` handle each connection in a thread. Made in the namespace it serves."""

    def __init__(self, talk: Talk, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.host = host
        self.received = b""
        self.connections = 0
        self._talk = talk
        self._tls = tls
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        secured = peer
        # A peer that goes away in the middle is what many scenarios are about.
        with contextlib.suppress(OSError):
            if self._tls is not None:
                secured = self._tls.wrap_socket(peer, server_side=True)
                with self._lock:
                    self._open.add(secured)
            self._talk(Connection(secured, self._record, self._stop))
        secured.close()
        peer.close()
        with self._lock:
            self._open -= {secured, peer}

    def _record(self, data: bytes) -> None:
        with self._lock:
            self.received += data[: _HEAD_LIMIT - len(self.received)]

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            still_open = list(self._open)
        for peer in still_open:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


@dataclass(frozen=True)
class HttpRequest:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def rpc(self) -> dict[str, Any]:
        """The JSON-RPC message in the body, or an empty one."""
        try:
            message = json.loads(self.body)
        except ValueError:
            return {}
        return message if isinstance(message, dict) else {}


@dataclass(frozen=True)
class Reply:
    """An HTTP response; `body` that is no bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        is_text = isinstance(self.body, bytes | str)
        text = self.body.encode() if isinstance(self.body, str) else self.body
        body: bytes = text if is_text else json.dumps(self.body).encode()
        kind = "text/plain" if is_text else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"} | dict(self.headers)
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


Route = Callable[[HttpRequest], Reply | None]
NOT_FOUND = Reply({"detail": "Not Found"}, 404)
_BAD_REQUEST = Reply("Bad Request", 400)


def http(route: Route) -> Talk:
    """Speak HTTP/1.1, one request a connection. A route that answers None leaves the peer waiting."""

    def talk(connection: Connection) -> None:
        request = read_request(connection)
        reply = route(request) if request is not None else _BAD_REQUEST
        if reply is None:
            silence(connection)
            return
        connection.write(reply.encoded())

    return talk


def read_request(connection: Connection) -> HttpRequest | None:
    """The next request, or None when the peer left or spoke something else."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.read()
        if not more or len(data) > _HEAD_LIMIT:
            return None
        data += more
        if b"\r\n" in data and not data.partition(b"\r\n")[0].endswith((b"HTTP/1.1", b"HTTP/1.0")):
            return None
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        more = connection.read()
        if not more:
            return None
        body += more
    return HttpRequest(method, rest.rpartition(" ")[0], headers, body)


def silence(connection: Connection) -> None:
    """Say nothing until the peer has gone."""
    while connection.read():
        pass


def await_port(port: int, host: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return once something listens. Raises `AssertionError` when its process ends first, or in 10 s."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        assert process is None or process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        time.sleep(0.01)
    raise AssertionError(f"nothing listens on {host}:{port}")
