"""Every provider of models at once, by HTTPS on port 443: `python provider_server.py CERTIFICATE KEY`.

Each answers in its own API with one sentence, and prints one line of JSON for each request: whom it was for and what it
said. A prompt with `REFUSED` in it is refused as a wrong key is, and the key is said back, as OpenAI does.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSED = "REFUSE THIS KEY"
Event = tuple[str, dict[str, Any]]


def sentence(host: str) -> str:
    """What the provider at `host` answers."""
    return f"answered by {host}"


def anthropic(model: str, text: str) -> tuple[dict[str, Any], Sequence[Event]]:
    """The Messages API: an answer, and the same as a stream."""
    usage = {"input_tokens": 7, "output_tokens": 3}
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
    message |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    empty = {**message, "content": [], "stop_reason": None}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return {**message, "content": [{"type": "text", "text": text}]}, [
        ("message_start", {"message": empty}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": ended, "usage": {"output_tokens": 3}}),
        ("message_stop", {}),
    ]


def responses(model: str, text: str) -> tuple[dict[str, Any], Sequence[Event]]:
    """OpenAI's Responses API."""
    usage: dict[str, Any] = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "resp_1", "object": "response", "created_at": 0, "model": model, "status": "completed"}
    response |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "output": [message], "usage": usage}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return response, [
        ("response.created", {"response": {**response, "status": "in_progress", "output": [], "usage": None}}),
        ("response.output_item.added", {"output_index": 0, "item": {**message, "content": []}}),
        ("response.content_part.added", {**at, "part": {**part, "text": ""}}),
        ("response.output_text.delta", {**at, "delta": text, "logprobs": []}),
        ("response.output_text.done", {**at, "text": text, "logprobs": []}),
        ("response.output_item.done", {"output_index": 0, "item": message}),
        ("response.completed", {"response": response}),
    ]


def chat(model: str, text: str) -> tuple[dict[str, Any], Sequence[Event]]:
    """OpenAI's chat API, as xAI and OpenRouter have it."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    about = {"id": "chat_1", "created": 0, "model": model, "usage": usage}
    spoken = {"role": "assistant", "content": text}
    whole = {"index": 0, "finish_reason": "stop", "message": spoken}
    piece = {"index": 0, "finish_reason": "stop", "delta": spoken}
    return {**about, "object": "chat.completion", "choices": [whole]}, [
        ("", {**about, "object": "chat.completion.chunk", "choices": [piece]})
    ]


def google(model: str, text: str) -> tuple[dict[str, Any], Sequence[Event]]:
    """Gemini's API."""
    candidate = {"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": text}]}}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}
    return answer, [("", answer)]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        host, asked = str(self.headers["Host"]), json.loads(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"host": host, "path": self.path, "headers": headers, "body": body}
        print(json.dumps(told), flush=True)  # noqa: T201 - how the test gets it
        if REFUSED in body:
            given = self.headers["Authorization"] or self.headers["x-goog-api-key"]
            error = {"message": f"Incorrect API key provided: {given}", "code": 401, "type": "authentication_error"}
            self.say(401, "application/json", json.dumps({"type": "error", "error": error}))
            return
        speaks = {"messages": anthropic, "responses": responses, "completions": chat}
        speak = speaks.get(self.path.rpartition("/")[2], google)
        answer, events = speak(asked.get("model", "a-model"), sentence(host))
        if asked.get("stream") or "streamGenerateContent" in self.path:
            self.say(200, "text/event-stream", "".join(map(sent, enumerate(events))))
        else:
            self.say(200, "application/json", json.dumps(answer))

    def say(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None: ...


def sent(numbered: tuple[int, Event]) -> str:
    """An event as it goes over the wire."""
    number, (name, data) = numbered
    if not name:
        return f"data: {json.dumps(data)}\n\n"
    return f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **data})}\n\n"


def main(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("0.0.0.0", 443), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
