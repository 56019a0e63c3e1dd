"""Upstash's REST before a real Redis: bearer token, a command as a JSON list, `/pipeline` as a list of them.

Shapes: https://upstash.com/docs/redis/features/restapi
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from gateway.tests.conftest import free_port


def _execute(redis: Redis, command: Any) -> dict[str, Any]:
    if not isinstance(command, list) or not all(isinstance(part, str | int | float) for part in command):
        return {"error": "ERR failed to parse command"}
    try:
        return {"result": redis.execute_command(*command)}  # type: ignore[no-untyped-call]
    except ResponseError as error:
        return {"error": str(error)}


@contextmanager
def upstash_rest(redis_port: int, token: str) -> Iterator[str]:
    # RESP as it is: redis-py's own turning of `OK` into True is no part of Upstash.
    redis = Redis(port=redis_port, decode_responses=True, protocol=2)
    redis.response_callbacks.clear()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers.get("Authorization") != f"Bearer {token}":
                self._answer(401, {"error": "Unauthorized"})
            elif self.path == "/pipeline":
                self._answer(200, [_execute(redis, command) for command in body])
            elif self.path == "/":
                answer = _execute(redis, body)
                self._answer(400 if "error" in answer else 200, answer)
            else:
                self._answer(404, {"error": "Not found"})

        def _answer(self, status: int, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        redis.close()
