"""Servers that are not what they seem, and servers that only mean to cost time, memory or secrets."""

from __future__ import annotations

import functools
import json
import socket
import struct
import zlib

from .servers import NOT_FOUND, Connection, HttpRequest, Reply, Talk, http, read_request, silence


def yes_man(body: object = "ok") -> Talk:
    """200 to everything."""
    return http(lambda _: Reply(body))


def title_only_qdrant() -> Talk:
    """Knows what Qdrant calls itself, and nothing else of it."""
    title = Reply({"title": "qdrant - vector search engine", "version": "1.12.0"})
    return http(lambda request: title if request.path == "/" else NOT_FOUND)


def redirector(target: str, status: int = 302) -> Talk:
    """Sends everybody elsewhere."""
    return http(lambda request: Reply("", status, {"Location": target.rstrip("/") + request.path}))


def says(line: bytes) -> Talk:
    """Answers every packet with the same bytes."""

    def talk(connection: Connection) -> None:
        while connection.read():
            connection.write(line)

    return talk


def echo(connection: Connection) -> None:
    """Gives back what it gets."""
    while data := connection.read():
        connection.write(data)


def greeter(line: bytes) -> Talk:
    """Speaks first, as SSH, SMTP and MySQL do."""

    def talk(connection: Connection) -> None:
        connection.write(line)
        connection.read()
        connection.write(b"Protocol mismatch.\r\n")

    return talk


tarpit: Talk = silence


def late(talk: Talk, seconds: float) -> Talk:
    """Takes its time with each connection: with HTTP, that is with each answer."""

    def talk_late(connection: Connection) -> None:
        if connection.wait(seconds):
            talk(connection)

    return talk_late


def reset(connection: Connection) -> None:
    """Drops the connection with RST once something was said."""
    connection.read()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(connection: Connection) -> None:
    """Closes without a word."""
    connection.read()


def drip(data: bytes, at_once: int = 0, seconds: float = 0.4) -> Talk:
    """Sends the first `at_once` bytes, then one byte each `seconds`: a read timeout never fires."""

    def talk(connection: Connection) -> None:
        connection.read()
        connection.write(data[:at_once])
        for byte in data[at_once:]:
            if not connection.wait(seconds):
                return
            connection.write(bytes([byte]))

    return talk


def dripping_headers() -> Talk:
    return drip(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 4000)


def dripping_body() -> Talk:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
    return drip(head + b'{"title": "' + b"x" * 4000, at_once=len(head))


def dripping_events() -> Talk:
    """An event stream that stays alive by comments, and never holds an event."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    return drip(head + b": ping\n\n" * 500, at_once=len(head), seconds=0.05)


def endless(
    chunk: bytes = b"x" * 65536, head: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
) -> Talk:
    """A body without end."""

    def talk(connection: Connection) -> None:
        connection.read()
        connection.write(head)
        while connection.wait(0):
            connection.write(chunk)

    return talk


def endless_headers() -> Talk:
    return endless(b"X-Header: " + b"x" * 1000 + b"\r\n", head=b"HTTP/1.1 200 OK\r\n")


def one_long_header() -> Talk:
    return http(lambda _: Reply({"title": "qdrant - vector search engine"}, 200, {"X-Long": "x" * 200_000}))


def endless_continue() -> Talk:
    """Informational responses without end, each of them legal."""
    return endless(b"HTTP/1.1 100 Continue\r\n\r\n", head=b"")


def gzip_bomb(megabytes: int = 200) -> Talk:
    """A small body that unpacks to `megabytes`."""
    return http(lambda _: Reply(_bomb(megabytes), 200, {"Content-Encoding": "gzip"}))


@functools.cache
def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(wbits=31)  # 31: with gzip's own header
    return b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(megabytes)) + packer.flush()


def raw(data: bytes) -> Talk:
    """Any bytes in answer to a request, HTTP or not, then the end."""

    def talk(connection: Connection) -> None:
        read_request(connection)
        connection.write(data)

    return talk


def json_body(text: bytes) -> Talk:
    """200 with a body that claims to be JSON."""
    return http(lambda _: Reply(text, 200, {"Content-Type": "application/json"}))


def upstash(token: str) -> Talk:
    """Redis over REST, as Upstash offers it: a bearer token first, then commands as paths or JSON lists."""

    def route(request: HttpRequest) -> Reply:
        if request.headers.get("authorization") != f"Bearer {token}":
            return Reply({"error": "Unauthorized"}, 401)
        command = json.loads(request.body) if request.body else request.path.strip("/").split("/")
        return Reply({"result": command[1] if command[0].upper() == "ECHO" else "PONG"})

    return http(route)


def locked_redis(connection: Connection) -> None:
    """Redis to the letter before a login, and curious: it takes no password, but hears each."""
    while data := connection.read():
        # A pipeline of the shape: *2\r\n$4\r\nPING\r\n$1\r\nx\r\n*1\r\n$4\r\nINFO\r\n
        for command in data.decode("latin-1").split("*")[1:]:
            verb = command.split("\r\n")[2]
            replies = {"AUTH": "-WRONGPASS invalid username-password pair or user is disabled."}
            known = verb.upper() in ("PING", "INFO", "ROLE", "HELLO", "ECHO", "GET", "SET")
            locked = "-NOAUTH Authentication required." if known else f"-ERR unknown command '{verb}'"
            connection.write(f"{replies.get(verb.upper(), locked)}\r\n".encode("latin-1"))
