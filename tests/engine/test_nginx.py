"""The edge, by the very nginx that is deployed: what is let through, what is refused, and how."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from docker.models.networks import Network

from planning.plan import Edge
from rendering.nginx_conf import nginx_conf
from tests.builders import settings_of
from tests.certificates import Pair, make_pair
from tests.engine.private_engine import PrivateEngine
from tests.waiting import until

pytestmark = pytest.mark.engine

IMAGES = settings_of("production").images
TIMEOUT = 30
HOST = "craft.example.com"
REQUESTS_PER_SECOND = 5
PAIR = make_pair(HOST)
LIMITED = {"nginx.conf": nginx_conf(Edge(), REQUESTS_PER_SECOND)}
WITH_TLS = {
    "nginx.conf": nginx_conf(Edge((HOST,), PAIR.certificate, 8443)),
    "tls.pem": PAIR.certificate,
    "secrets/tlsKey": PAIR.key,
}


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers by lower-case name, the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """A running nginx. Addresses are those of its container: published ports are the journeys' business."""

    container: Container
    engine: PrivateEngine

    @property
    def address(self) -> str:
        (address,) = (told["IPAddress"] for told in self.container.attrs["NetworkSettings"]["Networks"].values())
        return str(address)

    def raw(
        self, sent: bytes, *, port: int = 8080, tls: ssl.SSLContext | None = None, name: str | None = HOST
    ) -> bytes:
        """All that comes back for `sent`, until nginx closes."""
        with self.connected(port, tls) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def connected(self, port: int, tls: ssl.SSLContext | None = None, name: str | None = HOST) -> socket.socket:
        """A connection; with `tls` one that asked for `name`."""

        def connect() -> socket.socket:
            connection = socket.create_connection((self.address, port), TIMEOUT)
            return tls.wrap_socket(connection, server_hostname=name) if tls else connection

        return self.engine.namespace.run(connect)

    def ask(
        self,
        target: str,
        *lines: str,
        method: str = "GET",
        body: bytes = b"",
        host: str = HOST,
        port: int = 8080,
        tls: ssl.SSLContext | None = None,
    ) -> Answer:
        """The answer to a request whose target is sent exactly as it is written."""
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *length, *lines])
        return parsed(self.raw(f"{head}\r\n\r\n".encode("latin-1") + body, port=port, tls=tls))

    def ask_tls(self, target: str, *lines: str, host: str = HOST) -> Answer:
        return self.ask(target, *lines, host=host, port=8443, tls=trusting(PAIR))

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.container.logs(stderr=False).decode().splitlines()]


def parsed(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    names = [name.lower() for name, _ in pairs]
    assert len(set(names)) == len(names), f"a header twice: {names}"
    headers = {name.lower(): value for name, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(body.split(b"\r\n")[1::2])
    return Answer(int(status.split(" ")[1]), headers, body)


def trusting(pair: Pair, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=pair.certificate)
    # Otherwise OpenSSL's security level would refuse old versions on this side, whatever the server says.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = newest
    return context


@pytest.fixture(scope="module")
def network(private_engine: PrivateEngine) -> Iterator[Network]:
    made = private_engine.client.networks.create(f"nginx-{secrets.token_hex(4)}")
    yield made
    for container in private_engine.client.containers.list(all=True, filters={"network": str(made.name)}):
        container.remove(force=True)
    made.remove()


Start = Callable[[Mapping[str, str]], Server]


@pytest.fixture(scope="module")
def start(private_engine: PrivateEngine, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Start:
    def started(files: Mapping[str, str]) -> Server:
        container: Container = private_engine.client.containers.run(
            IMAGES["nginx"].reference,
            ["nginx", "-c", "/run/promptcraft/nginx.conf", "-g", "daemon off;"],
            volumes=mounted(tmp_path_factory.mktemp("nginx"), files),
            network=str(network.name),
            read_only=True,
            tmpfs={"/tmp": "rw,noexec,nosuid,nodev,size=16m"},
            cap_drop=["ALL"],
            detach=True,
        )
        container.reload()
        server = Server(container, private_engine)
        until(lambda: listens(server))
        return server

    return started


def mounted(folder: Path, files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Write the files where nginx's user may read them; the volumes that mount them where it looks."""
    (folder / "secrets").mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return {str(folder): {"bind": "/run/promptcraft", "mode": "ro"}}


def listens(server: Server) -> bool:
    try:
        server.connected(8080).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(scope="module")
def alone(start: Start) -> Server:
    """nginx for any name, with a low limit, and with no replica that it would find in time."""
    return start(LIMITED)


@pytest.fixture(scope="module")
def slow_client(alone: Server) -> Iterator[Future[float]]:
    """How long, in seconds, nginx bears somebody who sends a header byte by byte; measured while other tests run."""

    def dribble() -> float:
        started = time.monotonic()
        with alone.connected(8080) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
            connection.settimeout(0.2)
            while time.monotonic() < started + 3 * TIMEOUT:
                try:
                    connection.sendall(b"x")
                    if connection.recv(1024) == b"":
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
        return time.monotonic() - started

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(dribble)


# --- without a replica ---

NO_ROUTES = [
    *("/metrics", "/Metrics", "//metrics", "/x/../metrics", "/api/../metrics", "/%6detrics", "/metrics/", "/./metrics"),
    *("/metrics?x", "/api/%2e%2e/metrics", "/api/..%2fmetrics", "/api//x", "/-/reload", "/openapi.json", "/health/"),
    *(
        "/mcp/",
        "/mcp/a/b",
        "/mcpx",
        "/MCP",
        "/metrics;x",
        "/api/..;/metrics",
        "/api/.;/x",
        "/\\metrics",
        "/api\\..\\metrics",
        "/stub_status",
        "/healthz",
    ),
    *("/metrics%20", "/metrics%3f", "/%2fmetrics", "/%252e%252e/metrics", "/api/%c0%ae%c0%ae/metrics", "/metrics#x"),
    *(
        "/.git/config",
        "/.well-known",
        "/.well-known/x",
        "/.well-known/.x",
        "/.well-known/../metrics",
        "/x/.well-known/x",
    ),
    *("http://127.0.0.1/metrics", "http://127.0.0.1:7862/metrics", "http://x/api/../metrics", "/api/x%0d%0aX:y"),
]


@pytest.mark.parametrize("target", NO_ROUTES)
def test_whatever_is_not_allowed_is_not_found(target: str, alone: Server, slow_client: Future[float]) -> None:
    answer = alone.ask(target)
    assert answer.status == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("host", ["promptcraft:7862", "127.0.0.1:8081", "localhost", "metrics"])
def test_a_name_opens_no_other_door(host: str, alone: Server) -> None:
    assert alone.ask("/metrics", host=host).status == 404
    assert alone.ask("/stub_status", host=host).status == 404


def test_without_a_replica_nginx_runs_and_says_so(alone: Server) -> None:
    answer = alone.ask("/health")
    assert answer.status == 502
    assert answer.json()["error"]["code"] == "unavailable"
    assert answer.headers["server"] == "nginx"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in answer.headers
    assert len(answer.headers["x-request-id"]) == 32
    assert alone.ask("/healthz", port=8081).status == 200
    assert alone.ask("/stub_status", port=8081).body.startswith(b"Active connections: ")


SMUGGLED = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED


@pytest.mark.parametrize(
    ("head", "rest", "status"),
    [
        (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", CHUNKED, 400),
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", CHUNKED, 400),
        (b"Content-Length: 0\r\nContent-Length: 33\r\n", SMUGGLED, 400),
        (b"Content-Length: 0, 33\r\n", SMUGGLED, 400),
        (b"Content-Length: +0\r\n", SMUGGLED, 400),
        (b"Content-Length: -1\r\n", SMUGGLED, 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED, 400),
        (b"Transfer-Encoding: xchunked\r\n", CHUNKED, 501),
        (b"Transfer-Encoding: chunked, identity\r\n", CHUNKED, 501),
        (b"Transfer-Encoding : chunked\r\n", CHUNKED, 400),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n" + SMUGGLED, 400),
        (b"Host: y\r\n", b"", 400),
        (b"X: " + b"x" * 64 * 1024 + b"\r\n", b"", 400),
        (b"X: \0\r\n", b"", 400),
    ],
)
def test_a_request_that_two_readers_could_read_differently_is_refused(
    head: bytes, rest: bytes, status: int, alone: Server
) -> None:
    raw = alone.raw(b"POST /api/x HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + rest)
    assert raw.startswith(b"HTTP/1.1 %d " % status)
    assert raw.count(b"HTTP/1.1 ") == 1
    assert parsed(raw).json()["error"]["code"] == {400: "bad_request", 501: "not_implemented"}[status]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "bad_request"),
        (b"GET /health?token=x HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad_request"),
        (b"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "bad_request"),
        (b"GET /../x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "bad_request"),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"),
        (
            b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
            400,
            "bad_request",
        ),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 414, "uri_too_long"),
        (b"GET /health HTTP/2.0\r\nHost: x\r\nConnection: close\r\n\r\n", 505, "http_version_not_supported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        (
            b"POST /api/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "not_implemented",
        ),
        (b"GET /.error HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "not_found"),
        (b"GET /nowhere HTTP/1.0\r\n\r\n", 404, "not_found"),
        (b"GET /health HTTP/1.0\r\n\r\n", 502, "unavailable"),
    ],
)
def test_whatever_nginx_refuses_is_refused_in_the_shape_of_the_api(
    sent: bytes, status: int, code: str, alone: Server
) -> None:
    answer = parsed(alone.raw(sent))
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_are_for_proxies_are_refused(method: str, alone: Server) -> None:
    assert alone.ask("/api/x", method=method).status == 405


def test_a_body_that_is_too_large_is_refused(alone: Server) -> None:
    answer = alone.ask("/api/x", method="POST", body=b"x" * (1024 * 1024 + 1))
    assert (answer.status, answer.json()["error"]["code"]) == (413, "too_large")


def crowd(server: Server, target: str) -> list[Answer]:
    """The answers to 60 requests at nearly the same time, each of which says that it comes from somewhere else."""
    with ThreadPoolExecutor(20) as people:
        return list(people.map(lambda n: server.ask(target, f"X-Forwarded-For: 10.0.0.{n}"), range(60)))


def test_who_asks_too_much_is_told_when_to_ask_again(alone: Server) -> None:
    # The address is the connection's: no header makes a client somebody else.
    answers = crowd(alone, "/health")
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) >= 20
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert all(answer.headers["x-frame-options"] == "DENY" for answer in refused)


def test_the_log_is_json_with_the_requests_id_and_without_its_query(alone: Server) -> None:
    answer = alone.ask('/metrics?token=only-for-tests&quote="')

    def written() -> list[tuple[str, int]]:
        identity = answer.headers["x-request-id"]
        return [(line["path"], line["status"]) for line in alone.log() if line["request_id"] == identity]

    # A line is written once its answer has been sent.
    until(lambda: written() == [("/metrics", 404)])
    crowd(alone, "/health?token=only-for-tests")
    until(lambda: {429, 502} <= {line["status"] for line in alone.log()})
    assert b"only-for-tests" not in alone.container.logs()


def test_a_refusal_to_head_has_no_body(alone: Server) -> None:
    answer = alone.ask("/nowhere", method="HEAD")
    assert (answer.status, answer.body) == (404, b"")


def test_a_slow_client_is_let_go(alone: Server, slow_client: Future[float]) -> None:
    assert 4 < slow_client.result(3 * TIMEOUT) < 2 * TIMEOUT


# --- with TLS, public names and replicas ---


@pytest.fixture(scope="module")
def replicas(
    private_engine: PrivateEngine, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> list[Container]:
    script = (Path(__file__).parent / "echo_replica.py").read_text()
    made = [
        private_engine.client.containers.create(
            IMAGES["zen-mcp"].reference, ["python3", "-c", script], network_mode="none", user="10001"
        )
        for _ in range(2)
    ]
    for replica in made:
        private_engine.client.networks.get("none").disconnect(replica)
        network.connect(replica, aliases=["promptcraft"])
    return made


@pytest.fixture(scope="module")
def public(start: Start, replicas: list[Container]) -> Server:
    """nginx with a certificate for one name, which found no replica at first and two later, without a reload."""
    server = start(WITH_TLS)
    assert server.ask_tls("/health").status == 502
    for replica in replicas:
        replica.start()
    until(lambda: {server.ask_tls("/health").status for _ in range(5)} == {200})
    return server


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(
    ("version", "works"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_tls_is_1_2_or_newer(version: ssl.TLSVersion, works: bool, public: Server) -> None:
    if works:
        with public.connected(8443, trusting(PAIR, version)) as connection:
            assert isinstance(connection, ssl.SSLSocket)
            assert connection.version() == version.name.replace("_", ".")
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            public.connected(8443, trusting(PAIR, version))


@pytest.mark.parametrize("name", ["evil.example.com", "127.0.0.1", None])
def test_an_unknown_name_gets_no_certificate(name: str | None, public: Server) -> None:
    context = trusting(PAIR)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError)):
        public.connected(8443, context, name)


def test_an_unknown_host_is_refused_whatever_tls_was_made_for(public: Server) -> None:
    for answer in (
        public.ask_tls("/", host="evil.example.com"),
        public.ask_tls("http://evil.example.com/"),
        public.ask("/", host="evil.example.com"),
        public.ask("/", host="127.0.0.1"),
    ):
        assert (answer.status, answer.json()["error"]["code"]) == (421, "unknown_host")
    assert public.ask("/metrics", host="").status in (400, 421)


def test_plain_http_only_redirects(public: Server) -> None:
    answer = public.ask("/api/x?y=%2f", host=f"{HOST}:8080")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{HOST}:8443/api/x?y=%2f")


@pytest.mark.parametrize("target", NO_ROUTES)
def test_tls_opens_no_other_way(target: str, public: Server) -> None:
    assert public.ask_tls(target.replace("//127.0.0.1", f"//{HOST}").replace("//x", f"//{HOST}")).status == 404


def test_the_application_is_told_who_asked_and_nothing_that_the_client_made_up(public: Server) -> None:
    made_up = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "X-Request-ID")
    answer = public.ask_tls(
        "/api/x?y",
        *(f"{name}: evil" for name in (*made_up, "Proxy", "X-Forwarded-Port", "X-Forwarded-Prefix")),
        *("X_Forwarded_For: evil", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "TE: trailers", "Kept: yes"),
        host=f"{HOST}:8443",
    )
    told = answer.json()
    headers = {name.lower(): value for name, value in told["headers"].items()}
    assert told["path"] == "/api/x?y"
    assert "evil" not in headers.values()
    assert headers["x-request-id"] == answer.headers["x-request-id"]
    assert (headers["x-forwarded-proto"], headers["host"]) == ("https", f"{HOST}:8443")
    assert headers["x-forwarded-host"] == f"{HOST}:8443"
    assert headers["x-forwarded-for"].count(".") == 3
    assert headers["kept"] == "yes"
    assert not {"upgrade", "te", "proxy", "forwarded"} & headers.keys()


def test_every_answer_has_the_security_headers_once(public: Server) -> None:
    for answer in (public.ask_tls("/"), public.ask_tls("/nowhere"), public.ask_tls("/", host="evil.example.com")):
        assert answer.headers["strict-transport-security"] == "max-age=63072000"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["server"] == "nginx"


def test_an_event_is_passed_on_at_once(public: Server) -> None:
    with public.connected(8443, trusting(PAIR)) as connection:
        connection.sendall(f"GET /api/events HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        received = b""
        while b"data: first" not in received:
            more = connection.recv(4096)
            assert more, received
            received += more


def test_a_websocket_passes(public: Server) -> None:
    with public.connected(8443, trusting(PAIR)) as connection:
        connection.sendall(
            f"GET /api/ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
        )
        stream = connection.makefile("rb")
        assert stream.readline().startswith(b"HTTP/1.1 101 ")
        while stream.readline() != b"\r\n":
            pass
        connection.sendall(b"through\n")
        assert stream.readline() == b"through\n"


def test_every_server_refuses_in_the_shape_of_the_api(public: Server) -> None:
    broken = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n".encode()
    for answer in (
        parsed(public.raw(b"GARBAGE\r\n\r\n")),
        parsed(public.raw(broken)),
        parsed(public.raw(broken, port=8443, tls=trusting(PAIR))),
        # Plain HTTP to the port of TLS.
        public.ask("/", port=8443),
    ):
        assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")


@dataclass(frozen=True)
class Upload:
    """An upload that its sender does not end."""

    connection: socket.socket
    body: bytes

    def end(self) -> Answer:
        self.connection.sendall(self.body[-1:])
        return parsed(b"".join(iter(lambda: self.connection.recv(65536), b"")))


def unfinished(server: Server, head: bytes, body: bytes) -> Upload:
    connection = server.connected(8443, trusting(PAIR))
    start = f"POST /api/agents/a/runs?token=only-for-tests HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
    connection.sendall(start.encode() + head + b"\r\n" + body[:-1])
    return Upload(connection, body)


# Together larger than all that nginx has to write to.
UPLOADS = 24
BODY = b"x" * (1024 * 1024 - 1)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: %d\r\n" % len(BODY), BODY),
        (b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"),
    ],
    ids=["declared", "chunked"],
)
def test_unfinished_uploads_are_in_nobodys_way(head: bytes, body: bytes, public: Server) -> None:
    begun = [unfinished(public, head, body) for _ in range(UPLOADS)]
    try:
        answer = public.ask("/api/agents/a/runs", method="POST", body=BODY, port=8443, tls=trusting(PAIR))
        assert (answer.status, answer.json()["length"]) == (200, len(BODY))
        if b"chunked" not in head:
            assert [upload.end().status for upload in begun] == [200] * UPLOADS
    finally:
        for upload in begun:
            upload.connection.close()
    assert b"only-for-tests" not in public.container.logs()


def test_http_1_0_may_do_without_a_host(start: Start, public: Server) -> None:
    anyone = start(LIMITED)
    answer = parsed(anyone.raw(b"GET /health HTTP/1.0\r\n\r\n"))
    assert (answer.status, answer.json()["headers"]["Host"]) == (200, anyone.address)


LOOKS = (
    "/",
    "/health",
    "/.well-known/oauth-protected-resource/mcp",
    "/api/health/detailed",
    "/api/agents/available",
    "/api/runs",
    "/api/runs/0a",
    "/api/sessions/s",
)


def test_what_may_be_asked_elsewhere_is_when_a_replica_hangs(public: Server, replicas: list[Container]) -> None:
    def asked(path: str) -> tuple[int, bool]:
        begun = time.monotonic()
        return public.ask_tls(path).status, time.monotonic() - begun < 8

    # Not the engine's `pause`: a busy kernel may refuse it ("unable to freeze").
    replicas[0].kill("SIGSTOP")
    try:
        with ThreadPoolExecutor(4 * len(LOOKS)) as people:
            assert set(people.map(asked, 4 * LOOKS)) == {(200, True)}
    finally:
        replicas[0].kill("SIGCONT")


def test_what_is_to_be_done_is_asked_of_one_replica_only(public: Server, replicas: list[Container]) -> None:
    """Each of some POSTs that go to two replicas, of which one hangs and then dies."""

    def begin(number: int) -> Answer:
        return public.ask(f"/api/agents/a/runs?{number}", method="POST", body=b"{}", port=8443, tls=trusting(PAIR))

    replicas[0].kill("SIGSTOP")
    with ThreadPoolExecutor(16) as people:
        begun = [people.submit(begin, number) for number in range(16)]
        until(lambda: sum(future.done() for future in begun) >= 2)
        assert {future.result().status for future in begun if future.done()} == {200}
        replicas[0].kill("SIGKILL")
        killed = time.monotonic()
        answers = [future.result() for future in begun]
        assert time.monotonic() - killed < 10
    replicas[0].start()
    # Those that it took stay its own; only what never reached it went to the other.
    assert {answer.status for answer in answers} == {200, 502}


def test_every_replica_is_asked_and_a_dead_one_is_not_missed(public: Server, replicas: list[Container]) -> None:
    def asked() -> set[str]:
        answers = [public.ask_tls("/api/x") for _ in range(8)]
        assert {answer.status for answer in answers} == {200}
        return {answer.json()["replica"] for answer in answers}

    until(lambda: len(asked()) == 2)
    replicas[0].kill("SIGKILL")
    until(lambda: len(asked()) == 1)
    replicas[0].start()
    until(lambda: len(asked()) == 2)
