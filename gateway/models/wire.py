"""HTTP to a provider of models: to its own address only, in bounds, and patient once where it asks for patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx2

from gateway.outbound import tls_context

CONNECT_SECONDS = 5.0
# Of one answer, stream included: what a model says in hours, and what a server that has gone mad sends in seconds.
MAX_ANSWER_BYTES = 32 * 2**20
_CONNECTIONS = httpx2.Limits(max_connections=100, max_keepalive_connections=10, keepalive_expiry=30.0)
_ASKS_FOR_PATIENCE = frozenset({429, 503})


@dataclass
class Patience:
    """Of one run: whether it may still wait for a provider, and until when (`time.monotonic`)."""

    until: float
    is_left: bool = True

    def take(self, seconds: float) -> bool:
        """Whether so long a wait is granted; only one ever is."""
        granted = self.is_left and time.monotonic() + seconds < self.until
        self.is_left = self.is_left and not granted
        return granted


patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


class Wire(httpx2.AsyncBaseTransport):
    """Sends requests to `base` alone. Without a key none is sent, whatever a provider's client made up."""

    def __init__(self, base: str, *, has_key: bool, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self._origin = _origin(httpx2.URL(base))
        self._has_key = has_key
        self._inner = inner or httpx2.AsyncHTTPTransport(verify=tls_context(), limits=_CONNECTIONS)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if _origin(request.url) != self._origin:
            raise httpx2.UnsupportedProtocol("asked to send to another address than the provider's own")
        # A small answer that unpacks to a large one passes any bound on what comes in.
        request.headers["Accept-Encoding"] = "identity"
        if not self._has_key:
            request.headers.pop("Authorization", None)
        response = await self._inner.handle_async_request(request)
        granted, wait = patience.get(), _retry_after(response)
        if granted is not None and wait is not None and granted.take(wait):
            await response.aclose()
            await asyncio.sleep(wait)
            response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise httpx2.ReadError(f"an answer of more than {MAX_ANSWER_BYTES // 2**20} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def client(base: str, *, has_key: bool, host: str | None, seconds: float) -> httpx2.AsyncClient:
    """A client for `base`; an answer may pause for `seconds`. `host` is the Host to ask for, where not `base`'s."""
    return httpx2.AsyncClient(
        transport=Wire(base, has_key=has_key),
        timeout=httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
        headers={"Host": host} if host else None,
        follow_redirects=False,
        trust_env=False,
    )


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _retry_after(response: httpx2.Response) -> float | None:
    """How many seconds the provider asks to wait, None where it does not."""
    told = response.headers.get("retry-after")
    if response.status_code not in _ASKS_FOR_PATIENCE or told is None:
        return None
    try:
        # 20 or Wed, 21 Oct 2015 07:28:00 GMT
        seconds = float(told) if told.strip().isdecimal() else parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)
