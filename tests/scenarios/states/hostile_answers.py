"""Answers made to break a parser, a terminal or a log."""

from __future__ import annotations

from ..emulators import legacy_mcp, qdrant
from ..impostors import json_body, raw, says, yes_man
from ..scenario import Table, selects_nothing, stays_below
from ..servers import Reply, Server, http
from ..tls import certificate
from ..world import World
from .crowds import crowd

scenario = Table()

crowd(
    scenario,
    "they break nothing",
    {
        "JSON nested 30,000 deep": json_body(b"[" * 30_000),
        "JSON objects nested 10,000 deep": json_body(b'{"a":' * 10_000),
        "JSON with a number beyond any": json_body(b'{"version": 1e99999, "title": NaN, "database": Infinity}'),
        "JSON with a number of 5,000 digits": json_body(b'{"version": ' + b"9" * 5000 + b"}"),
        "JSON that is no UTF-8": json_body(b'{"title": "\xff\xfe\xfa"}'),
        "JSON with half a surrogate": json_body(b'{"title": "\\ud800", "version": "\\ud800"}'),
        "a list where an object belongs": json_body(b'[{"title": "qdrant - vector search engine"}]'),
        "numbers where text belongs": yes_man({"title": 1, "version": 2, "database": 3, "service": [], "result": "x"}),
        "a result that is a list": yes_man(
            {"jsonrpc": "2.0", "id": "d1", "result": [1], "status": "success", "data": []}
        ),
        "an error that is text": http(lambda _: Reply({"jsonrpc": "2.0", "id": 1, "error": "no"}, 400)),
        "a negative length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
        "two lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
        "a chunk of a length that is none": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
        "a status of four digits": raw(b"HTTP/1.1 2000 OK\r\n\r\n{}"),
        "a status that is no number": raw(b"HTTP/1.1 abc\r\n\r\n{}"),
        "HTTP 0.9": raw(b'{"title": "qdrant - vector search engine"}'),
        "a character set that does not exist": http(
            lambda _: Reply("{}", 200, {"Content-Type": "application/json; charset=klingon"})
        ),
        "an encoding that does not exist": http(lambda _: Reply("{}", 200, {"Content-Encoding": "zstd-9000"})),
        "ten thousand headers": http(lambda _: Reply("{}", 200, {f"X-{n}": "x" for n in range(10_000)})),
        "a protocol switch": raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        ),
        "an event stream with broken JSON": http(
            lambda _: Reply("event: message\ndata: {\n\ndata: }\n\n", 200, {"Content-Type": "text/event-stream"})
        ),
        "a Redis error with a terminal's escapes": says(b"-ERR \x1b[2J\x07\xff [OK] redis ours\r\n"),
        "Redis types that do not exist": says(b"?what\r\n"),
        "a Redis length that is none": says(b"$abc\r\n"),
        "a negative Redis length": says(b"$-7\r\n*-9\r\n"),
    },
    ("impostor", "unreachable", "unhealthy"),
    stays_below(150),
)


@scenario("a version with a terminal's escapes is shown without them")
def _(world: World) -> None:
    world.serve(qdrant("1.12.0\n[OK] qdrant ours\x1b[2J\u202e" + "x" * 5000), 6333)


@scenario("a server's name with a terminal's escapes is shown without them", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    world.serve(legacy_mcp("evil\r\n[OK] zen-mcp ours\x1b[2J" + "x" * 5000), 8000)


@scenario("TLS where plain text is expected is no service", selects_nothing("qdrant", "redis", "grafana"))
def _(world: World) -> None:
    context = certificate(world.folder, "localhost")
    for port in (6333, 6379, 3000):
        world.keep(Server(qdrant(), port, tls=context))


@scenario("plain text where TLS is expected is no service, and learns no key", selects_nothing("qdrant", "redis"))
def _(world: World) -> None:
    secret = world.secret()
    world.must_not_learn(world.serve(qdrant(), 7333), secret)
    world.must_not_learn(world.serve(says(b"+PONG\r\n"), 7379), secret)
    world.set(QDRANT_HOST="https://127.0.0.1:7333", QDRANT_API_KEY=secret)
    world.set(REDIS_URL=f"rediss://:{secret}@127.0.0.1:7379")


@scenario(
    "a certificate that nobody signed proves nothing, and its owner learns no key", selects_nothing("qdrant", "redis")
)
def _(world: World) -> None:
    secret = world.secret()
    context = certificate(world.folder, "localhost")
    world.must_not_learn(world.keep(Server(qdrant(), 7333, tls=context)), secret)
    world.must_not_learn(world.keep(Server(says(b"+PONG\r\n"), 7379, tls=context)), secret)
    world.set(QDRANT_HOST="https://localhost:7333", QDRANT_API_KEY=secret)
    world.set(REDIS_URL=f"rediss://:{secret}@localhost:7379")
