"""Answers made to break a parser, a terminal or a log."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from ..emulators import legacy_mcp, qdrant
from ..impostors import json_body, raw, says, yes_man
from ..scenario import Table, lists, selects_nothing, stays_below
from ..servers import Reply, Server, Talk, http
from ..world import World

scenario = Table()

_KNOWN = {"redis": 6379, "qdrant": 6333, "zen-mcp": 8000, "prometheus": 9090, "grafana": 3000}


def _everywhere(what: str, talk: Talk) -> None:
    def start(world: World) -> None:
        for port in _KNOWN.values():
            world.serve(talk, port)

    refused = [lists(service, port, ("impostor", "unreachable", "unhealthy")) for service, port in _KNOWN.items()]
    scenario(f"{what} breaks nothing", selects_nothing(*_KNOWN), *refused, stays_below(150))(start)


_everywhere("JSON nested 30,000 deep", json_body(b"[" * 30_000))
_everywhere("JSON objects nested 10,000 deep", json_body(b'{"a":' * 10_000))
_everywhere("JSON with a number beyond any", json_body(b'{"version": 1e99999, "title": NaN, "database": Infinity}'))
_everywhere("JSON with a number of 5,000 digits", json_body(b'{"version": ' + b"9" * 5000 + b"}"))
_everywhere("JSON that is no UTF-8", json_body(b'{"title": "\xff\xfe\xfa"}'))
_everywhere("JSON with half a surrogate", json_body(b'{"title": "\\ud800", "version": "\\ud800"}'))
_everywhere("a list where an object belongs", json_body(b'[{"title": "qdrant - vector search engine"}]'))
_everywhere(
    "numbers where text belongs", yes_man({"title": 1, "version": 2, "database": 3, "service": [], "result": "x"})
)
_everywhere(
    "a result that is a list", yes_man({"jsonrpc": "2.0", "id": "d1", "result": [1], "status": "success", "data": []})
)
_everywhere("an error that is text", http(lambda _: Reply({"jsonrpc": "2.0", "id": 1, "error": "no"}, 400)))
_everywhere("a negative length", raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"))
_everywhere("two lengths", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}"))
_everywhere(
    "a chunk of a length that is none", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")
)
_everywhere("a status of four digits", raw(b"HTTP/1.1 2000 OK\r\n\r\n{}"))
_everywhere("a status that is no number", raw(b"HTTP/1.1 abc\r\n\r\n{}"))
_everywhere("HTTP 0.9", raw(b'{"title": "qdrant - vector search engine"}'))
_everywhere(
    "a character set that does not exist",
    http(lambda _: Reply("{}", 200, {"Content-Type": "application/json; charset=klingon"})),
)
_everywhere("an encoding that does not exist", http(lambda _: Reply("{}", 200, {"Content-Encoding": "zstd-9000"})))
_everywhere("ten thousand headers", http(lambda _: Reply("{}", 200, {f"X-{n}": "x" for n in range(10_000)})))
_everywhere(
    "a protocol switch", raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
)
_everywhere(
    "an event stream with broken JSON",
    http(lambda _: Reply("event: message\ndata: {\n\ndata: }\n\n", 200, {"Content-Type": "text/event-stream"})),
)
_everywhere("a Redis error with a terminal's escapes", says(b"-ERR \x1b[2J\x07\xff [OK] redis ours\r\n"))
_everywhere("Redis types that do not exist", says(b"?what\r\n"))
_everywhere("a Redis length that is none", says(b"$abc\r\n"))
_everywhere("a negative Redis length", says(b"$-7\r\n*-9\r\n"))


@scenario("a version with a terminal's escapes is shown without them")
def _(world: World) -> None:
    world.serve(qdrant("1.12.0\n[OK] qdrant ours\x1b[2J\u202e" + "x" * 5000), 6333)


@scenario("a server's name with a terminal's escapes is shown without them", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    world.serve(legacy_mcp("evil\r\n[OK] zen-mcp ours\x1b[2J" + "x" * 5000), 8000)


def _certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A certificate for `name` that nobody has signed."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@scenario("TLS where plain text is expected is no service", selects_nothing("qdrant", "redis", "grafana"))
def _(world: World) -> None:
    context = _certificate(world.folder, "localhost")
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
    context = _certificate(world.folder, "localhost")
    world.must_not_learn(world.keep(Server(qdrant(), 7333, tls=context)), secret)
    world.must_not_learn(world.keep(Server(says(b"+PONG\r\n"), 7379, tls=context)), secret)
    world.set(QDRANT_HOST="https://localhost:7333", QDRANT_API_KEY=secret)
    world.set(REDIS_URL=f"rediss://:{secret}@localhost:7379")
