"""An OpenAI-compatible server for tests, scripted turn by turn.

`PUT /script/{model}` gives it a list of turns, which it plays one a request; a model without one answers with what it
was asked. `GET /requests/{model}` shows what it was sent. A turn is an object with any of:

    text          what it says
    tool_calls    [{"name", "arguments"}]; arguments are an object, or a text as it is
    usage         {"input", "output"}; none is told where it is null, and words are counted where it is left out
    status        an HTTP status instead of an answer, with `headers` and `body`
    raw           a body as it is, with `type` (text/event-stream)
    delay         seconds before the answer, `pause` seconds between two of its chunks
    cut           how many chunks are sent before the connection is dropped
    endless       a text that is streamed again and again, and never ends
    repeat        this turn is played for ever
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

MODELS = os.environ.get("MODELS", "scripted,other").split(",")
KEY = os.environ.get("KEY", "")
# The name that it answers to, as Ollama does; empty for any.
HOST_NAME = os.environ.get("HOST_NAME", "")

scripts: dict[str, list[dict[str, Any]]] = {}
requests: dict[str, list[dict[str, Any]]] = defaultdict(list)
running: dict[str, int] = defaultdict(int)
peaks: dict[str, int] = defaultdict(int)


def error(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)


def refused(request: Request) -> Response | None:
    if HOST_NAME and request.headers.get("host") != HOST_NAME:
        return error(403, f"not known as {request.headers.get('host')}")
    if KEY and request.headers.get("authorization") != f"Bearer {KEY}":
        # OpenAI says back what it was given.
        return error(401, f"Incorrect API key provided: {request.headers.get('authorization')}", "invalid_api_key")
    return None


async def models(request: Request) -> Response:
    data = [{"id": name, "object": "model", "owned_by": "tests"} for name in MODELS]
    return refused(request) or JSONResponse({"object": "list", "data": data})


async def completions(request: Request) -> Response:
    if (no := refused(request)) is not None:
        return no
    body = await request.json()
    model = body["model"]
    digest = hashlib.sha256(request.headers.get("authorization", "").encode()).hexdigest()
    requests[model].append({"body": body, "authorization": digest, "at": time.time(), "headers": dict(request.headers)})
    if model not in MODELS:
        return error(404, f"The model `{model}` does not exist", "model_not_found")
    turn = next_turn(model, body)
    running[model] += 1
    peaks[model] = max(peaks[model], running[model])
    try:
        await asyncio.sleep(turn.get("delay", 0))
    finally:
        running[model] -= 1
    if "status" in turn:
        return JSONResponse(turn.get("body", {}), status_code=turn["status"], headers=turn.get("headers"))
    if "raw" in turn:
        return Response(turn["raw"], media_type=turn.get("type", "text/event-stream"))
    if body.get("stream"):
        return StreamingResponse(stream(model, turn, body), media_type="text/event-stream")
    return JSONResponse(whole(model, turn, body))


def next_turn(model: str, body: dict[str, Any]) -> dict[str, Any]:
    script = scripts.get(model)
    if not script:
        return {"text": f"answer to: {asked(body)}"}
    return script[0] if script[0].get("repeat") else script.pop(0)


def asked(body: dict[str, Any]) -> str:
    """What the user said last."""
    said = next(one["content"] for one in reversed(body["messages"]) if one["role"] == "user")
    return said if isinstance(said, str) else " ".join(part.get("text", "") for part in said)


def usage(turn: dict[str, Any], body: dict[str, Any]) -> dict[str, int] | None:
    told = turn.get(
        "usage", {"input": len(json.dumps(body["messages"]).split()), "output": len(turn.get("text", "").split())}
    )
    if told is None:
        return None
    return {
        "prompt_tokens": told["input"],
        "completion_tokens": told["output"],
        "total_tokens": told["input"] + told["output"],
    }


def calls(turn: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{len(requests)}_{index}_{time.monotonic_ns()}",
            "type": "function",
            "function": {
                "name": one["name"],
                "arguments": one["arguments"] if isinstance(one["arguments"], str) else json.dumps(one["arguments"]),
            },
        }
        for index, one in enumerate(turn.get("tool_calls", []))
    ]


def whole(model: str, turn: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    made = calls(turn)
    message = {"role": "assistant", "content": turn.get("text"), **({"tool_calls": made} if made else {})}
    reason = "tool_calls" if made else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage(turn, body),
    }


def chunk(model: str, delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        **more,
    }
    return f"data: {json.dumps(document)}\n\n".encode()


async def stream(model: str, turn: dict[str, Any], body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield chunk(model, {"role": "assistant", "content": ""})
    while turn.get("endless"):
        yield chunk(model, {"content": turn["endless"]})
        await asyncio.sleep(turn.get("pause", 0))
    for sent, word in enumerate(turn.get("text", "").split(" ")):
        if sent == turn.get("cut"):
            raise ConnectionAbortedError("dropped, as the script says")
        yield chunk(model, {"content": word if not sent else f" {word}"})
        await asyncio.sleep(turn.get("pause", 0))
    made = calls(turn)
    for index, one in enumerate(made):
        begun = {**one, "index": index, "function": {"name": one["function"]["name"], "arguments": ""}}
        yield chunk(model, {"tool_calls": [begun]})
        yield chunk(model, {"tool_calls": [{"index": index, "function": {"arguments": one["function"]["arguments"]}}]})
    yield chunk(model, {}, "tool_calls" if made else "stop")
    if (told := usage(turn, body)) is not None:
        yield chunk(model, {}, None, usage=told).replace(
            b'"choices": [{"index": 0, "delta": {}, "finish_reason": null}]', b'"choices": []'
        )
    yield b"data: [DONE]\n\n"


async def put_script(request: Request) -> Response:
    model = request.path_params["model"]
    scripts[model] = await request.json()
    requests[model] = []
    return Response(status_code=204)


async def get_requests(request: Request) -> Response:
    return JSONResponse(requests[request.path_params["model"]])


async def get_peaks(request: Request) -> Response:
    return JSONResponse({"peaks": peaks, "running": running})


app = Starlette(
    routes=[
        Route("/v1/models", models),
        Route("/v1/chat/completions", completions, methods=["POST"]),
        Route("/script/{model:path}", put_script, methods=["PUT"]),
        Route("/requests/{model:path}", get_requests),
        Route("/peaks", get_peaks),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ["PORT"]), log_level="critical")
