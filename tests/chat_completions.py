"""A model server of the tests: OpenAI's chat API with one answer for everything, and a record of what was asked.

A conversation may have it call a tool first. `gateway/tests/model_server.py` is the one that misbehaves by a script.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.engine.private_engine import PrivateEngine

ANSWER = "the model server's own words"
# What a prompt says to get no answer before the server ends.
SILENCE = "SAY NOTHING"
# What a prompt says to be refused as a wrong key is; the key is said back, as OpenAI does.
REFUSED = "REFUSE THIS KEY"
# What a prompt begins with to have a tool called: `{"name": …, "arguments": {…}}` follows.
CALL = "CALL "
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass(frozen=True)
class Question:
    """A request for an answer."""

    host: str
    authorization: str
    body: Mapping[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.body, ensure_ascii=False)


@dataclass
class ChatServer:
    """`url` is its base, as clients of the API take it."""

    url: str
    asked: list[Question] = field(default_factory=list)


def calling(tool: str, **arguments: Any) -> str:
    """An input that has the model call a tool, by the name that the model knows it by. Anything may follow it."""
    return CALL + json.dumps({"name": tool, "arguments": arguments})


def tool_call(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the model says to a message that asks for a call of a tool; None where it asks for none."""
    said = message["content"]
    if message["role"] != "user" or not isinstance(said, str) or not said.startswith(CALL):
        return None
    wanted, _ = json.JSONDecoder().raw_decode(said, len(CALL))
    function = {"name": wanted["name"], "arguments": json.dumps(wanted["arguments"])}
    made = {"index": 0, "id": f"call-{len(said)}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [made]}


@contextmanager
def chat_server(
    engine: PrivateEngine | None = None,
    address: tuple[str, int] | None = None,
    models: Sequence[str] = ("llama3.2",),
    tls: ssl.SSLContext | None = None,
) -> Iterator[ChatServer]:
    """Serve on a free port of the loopback, or where the containers of a private engine reach it, or at an address of
    that engine's machine; with `tls` by HTTPS. It answers as Ollama does to who asks what it is, and at an address that
    was given under this name only.
    """
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if address and self.headers["Host"] != f"{host}:{port}":
                self.say(403, "text/plain", "")
                return
            question = Question(self.headers["Host"], self.headers["Authorization"], body)
            serving.asked.append(question)
            spoken = tool_call(body["messages"][-1])
            if spoken is None and SILENCE in question.text:
                ended.wait()
                return
            if spoken is None and REFUSED in question.text:
                error = {"message": f"Incorrect API key provided: {question.authorization}", "code": "invalid_api_key"}
                self.say(401, "application/json", json.dumps({"error": error}))
                return
            reason = "tool_calls" if spoken else "stop"
            spoken = spoken or {"role": "assistant", "content": ANSWER}
            about = {"id": "answer", "created": 0, "model": body["model"]}
            if body.get("stream"):
                choice = {"index": 0, "finish_reason": reason, "delta": spoken}
                chunk = {**about, "object": "chat.completion.chunk", "choices": [choice], "usage": USAGE}
                self.say(200, "text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")
                return
            choice = {"index": 0, "finish_reason": reason, "message": spoken}
            answer = {**about, "object": "chat.completion", "choices": [choice], "usage": USAGE}
            self.say(200, "application/json", json.dumps(answer))

        def do_GET(self) -> None:
            listed = [{"id": name, "object": "model", "owned_by": "library"} for name in models]
            texts = {
                "/": "Ollama is running",
                "/api/version": json.dumps({"version": "0.6.2"}),
                "/v1/models": json.dumps({"object": "list", "data": listed}),
            }
            if address and self.headers["Host"] != f"{host}:{port}":
                self.say(403, "text/plain", "")
            elif self.path in texts:
                self.say(200, "text/plain" if self.path == "/" else "application/json", texts[self.path])
            else:
                self.say(404, "text/plain", "404 page not found")

        def say(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    host, port = address or (engine.bridge if engine else "127.0.0.1", 0)

    class Listener(ThreadingHTTPServer):
        # Many come at once in a test of load.
        request_queue_size = 128

    def made() -> ThreadingHTTPServer:
        return Listener((host, port), Handler)

    with engine.namespace.run(made) if engine else made() as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        serving = ChatServer(f"{'https' if tls else 'http'}://{host}:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield serving
        finally:
            ended.set()
            server.shutdown()
            thread.join()
