"""Talk to whoever listens at one endpoint, and never be held up, led astray or filled up by it.

One resolved address for the whole conversation (a name that answers differently the second time changes nothing), no
redirects, no proxies, no `.netrc`, no cookies, no compression, bounded bytes. The wall-clock limit is the caller's
`asyncio.timeout`: nothing here blocks the loop, so a peer that drips one byte at a time meets it like any other.
`requests` can do none of that: its time-out restarts with every byte, and it inflates and follows by itself.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import h11

from reading.addresses import plain_address, refusal
from reading.text import one_line

MAX_BODY = 64 * 1024  # bytes
_MAX_RAW = 2 * MAX_BODY  # headers, chunk framing and interim responses on top
_MAX_ADDRESSES = 4
_GREETING = b"HTTP/1."
# How the first frame of whoever speaks HTTP/2 at once begins: it is shorter than 256 bytes (RFC 9113, 4.1).
_HTTP2_SETTINGS = b"\x00\x00"
_READ = 16 * 1024
# Seconds after which the next question does not wait for the answer to the one before.
PATIENCE = 0.1

T = TypeVar("T")


class WireError(Exception):
    """No usable answer; the message is one line for a person."""


class UnreachableError(WireError):
    """Nobody home: refused, unresolved, or reset."""


class RefusedError(WireError):
    """We will not connect there: the name leads to a forbidden address."""


class GarbledError(WireError):
    """Somebody is there, but does not speak the protocol that was asked in, or hangs up on it."""


@dataclass(frozen=True)
class Place:
    """Where to connect: an endpoint taken apart. `path` is "" where the endpoint has none.

    `headers` are what may be shown there: who asks with others, or with none, sees another place.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def secure(self) -> bool:
        """Whether TLS proves that the host is the one named."""
        return self.scheme in ("https", "rediss")

    @property
    def authority(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(endpoint: str) -> Place:
    """The place an endpoint normalised by `endpoints.normalise_endpoint` names."""
    parts = urlsplit(endpoint)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"not a normalised endpoint: {endpoint!r}")
    return Place(parts.scheme, parts.hostname, parts.port, parts.path)


@dataclass(frozen=True)
class Response:
    """An HTTP response: header names in lower case, and its body; `is_cut` where there was more of it."""

    status: int
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)
    body: bytes = b""
    is_cut: bool = False

    def header(self, name: str) -> str:
        """The first header of this name (lower case), or ""."""
        return next((value for key, value in self.headers if key == name), "")


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a thread that can be abandoned: it never delays the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    left_alone(future)

    def deliver(action: Callable[[], None]) -> None:
        if not future.done():
            action()

    def run() -> None:
        action: Callable[[], None]
        try:
            action = functools.partial(future.set_result, work())
        except BaseException as error:  # noqa: BLE001 - carried over to whoever awaits, never swallowed
            action = functools.partial(future.set_exception, error)
        # Where the loop has ended, the result comes too late for anybody.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, action)

    threading.Thread(target=run, name="discovery", daemon=True).start()
    return future


def _lookup(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Resolves each name once; the answer holds for the whole look."""

    def __init__(self, lookup: Callable[[str], tuple[str, ...]] = _lookup) -> None:
        self._lookup = lookup
        self._pending: dict[str, asyncio.Future[tuple[str, ...]]] = {}

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of `host`. Raises `UnreachableError`, or `RefusedError` where any of them is forbidden."""
        if host not in self._pending and plain_address(host) is not None:
            # Known without asking anybody: a busy machine must not make a literal look unresolvable.
            known: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
            known.set_result((host,))
            self._pending[host] = known
        if host not in self._pending:
            self._pending[host] = in_thread(functools.partial(self._lookup, host))
        try:
            # Shielded: several endpoints of one host wait for the same answer, each with its own limit.
            found = await asyncio.shield(self._pending[host])
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"the name does not resolve ({_os_reason(error)})") from error
        for address in found:
            if (why := refusal(address)) is not None:
                raise RefusedError(f"leads to {why}")
            # RFC 6761, 6.3: that name is the loopback, and is asked as such.
            if host == "localhost" and not ((found_at := plain_address(address)) and found_at.is_loopback):
                raise RefusedError(f"leads to {address}, which is not this machine's loopback")
        if not found:
            raise UnreachableError("the name has no address")
        return found[:_MAX_ADDRESSES]


class Stream:
    """One open connection, with what was read of it so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send all of `data`. Raises `UnreachableError`."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise UnreachableError(f"broke off ({_os_reason(error)})") from error

    async def receive(self) -> bytes:
        """Some bytes, or b"" at the end. Raises `UnreachableError`."""
        try:
            return await self._reader.read(_READ)
        except OSError as error:
            raise UnreachableError(f"broke off ({_os_reason(error)})") from error


class HttpExchange:
    """One request on one connection: its response's head, and its body as it comes."""

    def __init__(self, stream: Stream, connection: h11.Connection) -> None:
        self._stream = stream
        self._connection = connection
        self._raw = 0
        self._most_raw = _MAX_RAW
        self._first = b""
        self.head = Response(0)
        self.body = b""
        self.ended = False

    async def _event(self) -> object:
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                if not self._raw:
                    raise GarbledError("hangs up on an HTTP request") from error
                raise GarbledError(f"does not speak HTTP ({one_line(str(error), 80)})") from error
            if event is not h11.NEED_DATA:
                return event
            if self._raw > self._most_raw:
                return h11.EndOfMessage()
            data = await self._stream.receive()
            self._raw += len(data)
            self._first = (self._first + data)[: len(_GREETING)]
            # Said at once: h11 would wait for the end of the headers of what has none.
            if self._first.startswith(_HTTP2_SETTINGS):
                raise GarbledError("speaks HTTP/2 only, as gRPC does; name its port for HTTP")
            if not _GREETING.startswith(self._first):
                raise GarbledError("does not speak HTTP")
            self._connection.receive_data(data)

    async def read_head(self) -> None:
        """Read up to the final status line and headers. Raises `WireError`."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                self.head = Response(
                    event.status_code,
                    tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers),
                )
                return
            if not isinstance(event, h11.InformationalResponse):
                raise GarbledError("answers without a final HTTP status")

    async def read_body(self, enough: Callable[[bytes], bool], most: int = MAX_BODY) -> bytes:
        """The body until `enough(body)`, its end, or `most` bytes. Raises `WireError`."""
        self._most_raw = 2 * most
        while not self.ended and len(self.body) < most and not enough(self.body):
            event = await self._event()
            if isinstance(event, h11.Data):
                self.body = (self.body + event.data)[:most]
            else:
                self.ended = True
        return self.body


def _whole(_body: bytes) -> bool:
    return False


class Wire:
    """Everything that may be said to one place. `authorities` (PEM) may sign for it, besides the machine's own."""

    def __init__(self, place: Place, addresses: Sequence[str], authorities: str | None = None) -> None:
        self.place = place
        self._authorities = authorities
        self._addresses = tuple(addresses)
        self._choosing = asyncio.Lock()
        self._foreseen: dict[str, asyncio.Future[Response]] = {}
        self._shown: tuple[tuple[str, str], ...] = ()

    def showing(self, headers: Sequence[tuple[str, str]]) -> Wire:
        """The same place, asked with `headers` from now on: for who has proved what it is."""
        wire = Wire(self.place, self._addresses, self._authorities)
        wire._shown = tuple(headers)
        return wire

    @property
    def shows_headers(self) -> bool:
        """Whether more is shown than the request needs."""
        return bool(self._shown)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Stream]:
        """A connection, aborted when left. Raises `UnreachableError`."""
        reader, writer = await self._open()
        try:
            yield Stream(reader, writer)
        finally:
            # abort, not close: a peer that does not read must not keep us waiting for the goodbye.
            writer.transport.abort()
            # Returns at once after an abort; what the peer did last is of no interest any more.
            with suppress(OSError):
                await writer.wait_closed()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if len(self._addresses) == 1:
            return await self._open_first()
        async with self._choosing:
            return await self._open_first()

    async def _open_first(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure: OSError | None = None
        for address in self._addresses:
            try:
                opened = await asyncio.open_connection(
                    address,
                    self.place.port,
                    ssl=_tls(self._authorities) if self.place.secure else None,
                    server_hostname=self.place.host if self.place.secure else None,
                )
            except OSError as error:
                failure = failure or error
                continue
            # From here on this address is the place: what is proved of one must not be credited to another.
            self._addresses = (address,)
            return opened
        raise UnreachableError(_os_reason(failure)) from failure

    @asynccontextmanager
    async def exchange(
        self, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> AsyncIterator[HttpExchange]:
        """Send one request; its head is read, its body is left to the caller. Raises `WireError`."""
        async with self.connect() as stream:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_BODY)
            try:
                request = h11.Request(
                    method=method,
                    target=path or "/",
                    headers=[
                        ("Host", self.place.authority),
                        ("User-Agent", "promptcraft-discovery"),
                        ("Accept-Encoding", "identity"),
                        ("Connection", "close"),
                        *headers,
                        *self._shown,
                        *((("Content-Length", str(len(body))),) if body else ()),
                    ],
                )
            except (h11.LocalProtocolError, UnicodeEncodeError) as error:
                # Not the error's own text: it repeats what it objects to, which may be a secret.
                raise RefusedError("what would have to be sent does not fit into an HTTP request") from error
            parts = [connection.send(request)]
            if body:
                parts.append(connection.send(h11.Data(data=body)))
            parts.append(connection.send(h11.EndOfMessage()))
            await stream.send(b"".join(part for part in parts if part))
            exchange = HttpExchange(stream, connection)
            await exchange.read_head()
            yield exchange

    async def ask(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        enough: Callable[[bytes], bool] = _whole,
        most: int = MAX_BODY,
    ) -> Response:
        """One request and its response, as much of it as `enough` wants, at most `most` bytes. Raises `WireError`."""
        if method == "GET" and not headers and path in self._foreseen:
            return await self._foreseen.pop(path)
        return await self._ask(method, path, headers, body, enough, most)

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        enough: Callable[[bytes], bool] = _whole,
        most: int = MAX_BODY,
    ) -> Response:
        async with self.exchange(method, path, headers, body) as exchange:
            content = await exchange.read_body(enough, most)
            return Response(exchange.head.status, exchange.head.headers, content, is_cut=len(content) >= most)

    @asynccontextmanager
    async def foreseeing(self, *paths: str) -> AsyncIterator[None]:
        """Within it, these pages are asked for at once where the answers are slow, before `ask` is called for them.

        Whoever answers soon is asked no more than is needed.
        """

        async def ask_all() -> None:
            await asyncio.sleep(PATIENCE)
            self._foreseen |= {path: left_alone(asyncio.ensure_future(self._ask("GET", path))) for path in paths}

        asking = asyncio.ensure_future(ask_all())
        try:
            yield
        finally:
            asking.cancel()
            for response in self._foreseen.values():
                response.cancel()
            self._foreseen.clear()


# An event loop holds tasks weakly (Python's documentation, asyncio.create_task): one that nobody waits for could vanish
# in the middle of its work, and leave its connection open.
_left_alone: set[asyncio.Future[Any]] = set()


def left_alone(future: asyncio.Future[T]) -> asyncio.Future[T]:
    """The future, which comes to its end even if nobody waits for it or asks what became of it."""
    _left_alone.add(future)
    future.add_done_callback(_forget)
    return future


def _forget(future: asyncio.Future[Any]) -> None:
    _left_alone.discard(future)
    # Otherwise asyncio would print its failure.
    if not future.cancelled():
        future.exception()


async def in_order(attempts: Sequence[Callable[[], Awaitable[T]]]) -> AsyncIterator[T]:
    """The result of each attempt, in their order. The next one begins when it is asked for, or where one is slow.

    What has begun comes to its end even if nobody wants the next result; it ends at once where time is up.
    """
    begun: list[asyncio.Future[T]] = []
    try:
        for number in range(len(attempts)):
            while len(begun) <= number or not begun[number].done():
                if len(begun) < len(attempts):
                    begun.append(left_alone(asyncio.ensure_future(attempts[len(begun)]())))
                await asyncio.wait({begun[number]}, timeout=PATIENCE if len(begun) < len(attempts) else None)
            yield begun[number].result()
    except asyncio.CancelledError:
        for attempt in begun:
            attempt.cancel()
        raise


@functools.cache
def _tls(authorities: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authorities is not None:
        context.load_verify_locations(cadata=authorities)
    return context


# By OpenSSL's X509_V_ERR_…: whom nobody vouches for, in its forms, and another name than the one that was asked for.
_TLS_CURES = dict.fromkeys((2, 18, 19, 20, 21), "; name a file of its authority in caFile") | dict.fromkeys(
    (62, 64), "; name it as its certificate does"
)


def _os_reason(error: BaseException | None) -> str:
    """A system error as a reader knows it, without addresses and numbers that differ from run to run."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = _TLS_CURES.get(error.verify_code, "")
        return f"TLS: {one_line(error.verify_message, 100)}{cure}"
    if isinstance(error, ssl.SSLError):
        cure = "; it may speak without TLS" if error.reason == "WRONG_VERSION_NUMBER" else ""
        return f"TLS: {one_line(error.reason or 'handshake failed', 100).replace('_', ' ').lower()}{cure}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    if isinstance(error, OSError) and error.strerror:
        return one_line(error.strerror, 100).lower()
    return error.__class__.__name__
