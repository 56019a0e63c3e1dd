"""HTTP to a server whose connection many calls share: what goes wrong with one request is that request's answer.

The SDK's client ends as a whole, with every call that is under way, when one of its requests can't be made. And it
reads an answer however long it is.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator

import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED

from gateway.mcp_client import CONNECT_PAUSES
from gateway.outbound import error_line, tls_context

# Below the 5 s after which uvicorn, as most servers are, ends a connection that rests.
_KEEP_SECONDS = 3.0
_MOST_RESTING = 20
# JSON-RPC leaves these numbers to whoever implements it.
_NOT_SENT = -32050
_LOST = -32051
# A server that says the same is not believed: this it does not know.
_WORD = secrets.token_hex(16)


def was_not_sent(error: MCPError) -> bool:
    """Whether the request never reached the server."""
    return error.error.code == _NOT_SENT and error.error.data == _WORD


def is_lost(error: MCPError) -> bool:
    """Whether no answer came to a request that was sent, as this process saw it, and not as the server says."""
    return (error.error.code == _LOST and error.error.data == _WORD) or error.error.code == CONNECTION_CLOSED


class _BrokenError(httpx2.StreamError, httpx2.SSEError):
    """An answer that ends early. The SDK makes it the answer to its request, whichever way the answer comes."""


class Answering(httpx2.AsyncBaseTransport):
    """Tells what was never sent, and bounds what is read to `max_bytes` an answer."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=_MOST_RESTING, keepalive_expiry=_KEEP_SECONDS
        )
        self._below = httpx2.AsyncHTTPTransport(verify=tls_context(), trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        for pause in (*CONNECT_PAUSES, None):
            try:
                answer = await self._below.handle_async_request(request)
            except httpx2.ConnectError as error:
                if pause is None:
                    return _problem(_NOT_SENT, f"it can't be reached: {error_line(error)}")
                await asyncio.sleep(pause)
                continue
            except httpx2.ConnectTimeout:
                return _problem(_NOT_SENT, "it can't be reached: connecting takes too long")
            except httpx2.TransportError as error:
                return _problem(_LOST, f"the connection was lost: {error_line(error)}")
            # What streams for as long as the connection is kept is no answer to a call.
            if request.method == "POST":
                assert isinstance(answer.stream, httpx2.AsyncByteStream)
                answer.stream = _Bounded(answer.stream, self._max_bytes)
            return answer
        raise AssertionError("the last pause is None")

    async def aclose(self) -> None:
        await self._below.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._max_bytes
        try:
            async for part in self._stream:
                left -= len(part)
                if left < 0:
                    raise _BrokenError(f"the answer has more than {self._max_bytes // 2**20} MiB")
                yield part
        except httpx2.TransportError as error:
            raise _BrokenError(f"the connection was lost: {error_line(error)}") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _problem(code: int, message: str) -> httpx2.Response:
    # With a null id, as for a request that was never read, the SDK takes the error for its own request.
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message, "data": _WORD}}
    return httpx2.Response(503, headers={"Content-Type": "application/json"}, content=json.dumps(error))
