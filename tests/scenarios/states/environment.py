"""The environment and `.env`: what they name is asked, and what they must never lead to is not."""

from __future__ import annotations

import os
import socket
import threading

from ..emulators import grafana, legacy_mcp, qdrant
from ..impostors import upstash
from ..namespace import another_host
from ..scenario import EXTERNAL, Table, ends_within, fails, lists, refuses, selects, selects_nothing, stays_below
from ..sdk_servers import SdkServer
from ..servers import Server
from ..tls import certificate
from ..world import World

scenario = Table()


@scenario(
    "an empty machine has no service at all, and says so quickly",
    selects_nothing("promptcraft", "redis", "qdrant", "zen-mcp", "nginx", "prometheus", "grafana"),
    ends_within(1.0),
)
def _(world: World) -> None:
    pass


@scenario(
    "QDRANT_HOST and QDRANT_PORT name a Qdrant, which is chosen with its version",
    selects("qdrant", 7333, EXTERNAL, "1.12.0"),
    lists("qdrant", 7333, "verified", EXTERNAL, evidence="QDRANT_HOST"),
)
def _(world: World) -> None:
    world.serve(qdrant("1.12.0"), 7333)
    world.set(QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333")


@scenario(
    "QDRANT_HOST without a port means 6333",
    lists("qdrant", 6333, "verified", EXTERNAL, evidence="QDRANT_HOST", hosts=frozenset({"10.9.8.7"})),
)
def _(world: World) -> None:
    another_host("10.9.8.7")
    world.serve(qdrant(), 6333, "10.9.8.7")
    world.set(QDRANT_HOST="10.9.8.7")


@scenario("QDRANT_HOST may be an IPv6 address", selects("qdrant", 7333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 7333, "::1")
    world.set(QDRANT_HOST="::1", QDRANT_PORT="7333")


@scenario("QDRANT_HOST may be a URL", selects("qdrant", 7333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 7333)
    world.set(QDRANT_HOST="http://127.0.0.1:7333")


@scenario(
    "ZEN_MCP_URL without a path leads to a real MCP server's /mcp",
    selects("zen-mcp", 7000, EXTERNAL, "9.8.2"),
    lists("zen-mcp", 7000, "verified", evidence="ZEN_MCP_URL"),
)
def _(world: World) -> None:
    world.keep(SdkServer("zen-mcp", 7000))
    world.set(ZEN_MCP_URL="http://localhost:7000")


@scenario("ZEN_MCP_URL may carry the path", selects("zen-mcp", 7000, EXTERNAL))
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL", path="/servers/zen/mcp"), 7000)
    world.set(ZEN_MCP_URL="http://127.0.0.1:7000/servers/zen/mcp")


@scenario("REDIS_URL leads to a real Redis", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    world.redis(7379)
    world.set(REDIS_URL="redis://127.0.0.1:7379/0")


@scenario("the password in REDIS_URL opens a real Redis and is shown nowhere", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    password = world.secret()
    world.redis(7379, "--requirepass", password)
    world.set(REDIS_URL=f"redis://:{password}@127.0.0.1:7379/0")


@scenario(
    "a wrong password is auth_required, not a reason to say that nobody is there",
    lists("redis", 7379, "auth_required", EXTERNAL),
    selects_nothing("redis"),
)
def _(world: World) -> None:
    world.redis(7379, "--requirepass", world.secret())
    world.set(REDIS_URL=f"redis://:{world.secret()}@127.0.0.1:7379/0")


@scenario("a Redis that wants a password nobody gave is auth_required", lists("redis", 6379, "auth_required"))
def _(world: World) -> None:
    world.redis(6379, "--requirepass", world.secret())


@scenario("PROMETHEUS_URL leads to a real Prometheus", selects("prometheus", 7090, EXTERNAL))
def _(world: World) -> None:
    world.prometheus(7090)
    world.set(PROMETHEUS_URL="http://127.0.0.1:7090/")


@scenario("GRAFANA_URL leads to Grafana", selects("grafana", 7030, EXTERNAL, "11.3.0"))
def _(world: World) -> None:
    world.serve(grafana("11.3.0"), 7030)
    world.set(GRAFANA_URL="http://127.0.0.1:7030")


@scenario(
    "a variable in .env counts", selects("qdrant", 7333, EXTERNAL), lists("qdrant", 7333, "verified", evidence=r"\.env")
)
def _(world: World) -> None:
    world.serve(qdrant(), 7333)
    world.write("root/.env", "# ours\nexport QDRANT_HOST=127.0.0.1\nQDRANT_PORT='7333' # shifted\n")


@scenario("the real environment wins over .env", selects("qdrant", 7334, EXTERNAL))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(qdrant(), 7333))
    world.serve(qdrant(), 7334)
    world.write("root/.env", "QDRANT_HOST=127.0.0.1\nQDRANT_PORT=7333\n")
    world.set(QDRANT_PORT="7334")


@scenario("an empty variable is as good as none", selects_nothing("qdrant", "zen-mcp", "redis", "grafana"))
def _(world: World) -> None:
    world.set(QDRANT_HOST="", ZEN_MCP_URL="", REDIS_URL="", GRAFANA_URL=" ", QDRANT_PORT="")


@scenario("a port beyond 65535 is refused", refuses("qdrant", "QDRANT_"))
def _(world: World) -> None:
    world.set(QDRANT_HOST="127.0.0.1", QDRANT_PORT="99999")


@scenario("file:///etc/passwd is no endpoint", refuses("zen-mcp", "ZEN_MCP_URL"))
def _(world: World) -> None:
    world.set(ZEN_MCP_URL="file:///etc/passwd")


@scenario("gopher:// is no endpoint", refuses("grafana", "GRAFANA_URL"))
def _(world: World) -> None:
    world.serve(grafana(), 7030)
    world.set(GRAFANA_URL="gopher://127.0.0.1:7030/_GET")


@scenario(
    "a URL with a user and a password is refused, and the password not shown", refuses("prometheus", "PROMETHEUS_URL")
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(grafana(), 7090))
    world.set(PROMETHEUS_URL=f"http://admin:{world.secret()}@127.0.0.1:7090")


def _metadata_service(world: World) -> None:
    another_host("169.254.169.254")
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 80, "169.254.169.254"))


@scenario("the metadata service of a cloud is never asked", refuses("zen-mcp", "ZEN_MCP_URL"))
def _(world: World) -> None:
    _metadata_service(world)
    world.set(ZEN_MCP_URL="http://169.254.169.254/latest")


@scenario("the metadata service is never asked by its decimal number", refuses("zen-mcp", "ZEN_MCP_URL"))
def _(world: World) -> None:
    _metadata_service(world)
    world.set(ZEN_MCP_URL="http://2852039166/")


@scenario("the metadata service is never asked as an IPv4 address inside IPv6", refuses("zen-mcp", "ZEN_MCP_URL"))
def _(world: World) -> None:
    _metadata_service(world)
    world.set(ZEN_MCP_URL="http://[::ffff:169.254.169.254]/")


@scenario("the metadata service is never asked by a name that resolves to it", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    _metadata_service(world)
    hosts = world.write("hosts", "127.0.0.1 localhost\n169.254.169.254 zen.example.com\n", mode=0o644)
    world.mount(hosts, "/etc/hosts")
    world.set(ZEN_MCP_URL="http://zen.example.com/")


@scenario(
    "a name whose server never answers costs no more than the budget",
    lists("grafana", 3000, "unreachable", hosts=frozenset({"grafana.example.com"})),
    selects("qdrant", 6333),
    ends_within(2.5),
    budget=2.0,
)
def _(world: World) -> None:
    mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mute.bind(("127.0.0.9", 53))
    world.keep(mute)
    path = world.write("resolv.conf", "nameserver 127.0.0.9\noptions timeout:30 attempts:5\n", mode=0o644)
    world.mount(path, "/etc/resolv.conf")
    world.serve(qdrant(), 6333)
    world.set(GRAFANA_URL="http://grafana.example.com:3000")


@scenario(
    "a name that resolves differently the second time is not followed to the second address",
    selects_nothing("zen-mcp"),
)
def _(world: World) -> None:
    _metadata_service(world)
    world.keep(RebindingNameServer("127.0.0.9", first="127.0.0.1", then="169.254.169.254"))
    path = world.write("resolv.conf", "nameserver 127.0.0.9\n", mode=0o644)
    world.mount(path, "/etc/resolv.conf")
    world.set(ZEN_MCP_URL="http://rebind.example.com/")


@scenario(
    "control characters in a variable neither break a line nor reach the terminal",
    refuses("grafana", "GRAFANA_URL"),
)
def _(world: World) -> None:
    world.set(GRAFANA_URL="http://127.0.0.1:7030/\x1b[2J\n[OK] grafana ours")


@scenario("a proxy of the environment is not used for the loopback", selects("grafana", 7030))
def _(world: World) -> None:
    proxy: Server = world.must_not_be_asked(world.serve(grafana(), 3128))
    world.serve(grafana(), 7030)
    address = f"http://127.0.0.1:{proxy.port}"
    world.set(HTTP_PROXY=address, http_proxy=address, ALL_PROXY=address, all_proxy=address)
    world.set(GRAFANA_URL="http://127.0.0.1:7030")


class RebindingNameServer:
    """Answers the first question for an address with `first`, each later one with `then`; time to live 0."""

    def __init__(self, host: str, first: str, then: str) -> None:
        self._answers = [first, then]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            question, peer = self._socket.recvfrom(512)
            if not question:
                return
            end = question.index(0, 12) + 5
            is_a = question[end - 4 : end - 2] == b"\0\1"
            answer = b""
            if is_a:
                address = self._answers[0]
                self._answers = self._answers[-1:]
                answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address)
            header = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
            self._socket.sendto(header + question[12:end] + answer, peer)

    def close(self) -> None:
        """Wake the thread with an empty packet, and stop."""
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()


@scenario("a login of Redis' own user list opens it", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    password = world.secret()
    world.redis(7379, "--user", "default", "off", "--user", "app", "on", f">{password}", "~*", "+@all")
    world.set(REDIS_URL=f"redis://app:{password}@127.0.0.1:7379")


@scenario("a real Redis over TLS is chosen where its certificate is vouched for", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    certificate(world.folder, "localhost")
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no")
    password = world.secret()
    world.redis(0, "--tls-port", "7379", "--requirepass", password, *files, listens=7379)
    world.set(REDIS_URL=f"rediss://:{password}@localhost:7379", SSL_CERT_FILE=f"{world.folder}/cert.pem")


@scenario("Upstash is chosen where its certificate is vouched for", selects("redis", 7443, EXTERNAL))
def _(world: World) -> None:
    token = world.secret()
    world.keep(Server(upstash(token), 7443, tls=certificate(world.folder, "localhost")))
    world.set(UPSTASH_REDIS_REST_URL="https://localhost:7443", UPSTASH_REDIS_REST_TOKEN=token)
    world.set(SSL_CERT_FILE=f"{world.folder}/cert.pem")


@scenario("a Prometheus below a path is chosen", selects("prometheus", 7090, EXTERNAL))
def _(world: World) -> None:
    world.prometheus(7090, "--web.external-url=http://127.0.0.1:7090/prom")
    world.set(PROMETHEUS_URL="http://127.0.0.1:7090/prom/")


@scenario("ZEN_MCP_URL may lead to an event stream over IPv6", selects("zen-mcp", 7000, EXTERNAL))
def _(world: World) -> None:
    world.keep(SdkServer("zen-mcp", 7000, events=True, host="::1"))
    world.set(ZEN_MCP_URL="http://[::1]:7000/sse")


@scenario(
    "an event stream is found where ZEN_MCP_URL names only the server, and its path told",
    selects("zen-mcp", 7000, EXTERNAL),
    lists("zen-mcp", 7000, "verified", EXTERNAL, path="/sse"),
)
def _(world: World) -> None:
    world.keep(SdkServer("zen-mcp", 7000, events=True))
    world.set(ZEN_MCP_URL="http://127.0.0.1:7000")


@scenario("a value that is no UTF-8 breaks nothing", selects("qdrant", 6333))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    broken = b"http://127.0.0.1:7030/\xff\xfe".decode(errors="surrogateescape")
    world.set(GRAFANA_URL=broken, REDIS_URL=broken, HOSTNAME=broken)


@scenario("a REDIS_URL of another scheme is refused, and its password not shown", refuses("redis", "REDIS_URL"))
def _(world: World) -> None:
    world.set(REDIS_URL=f"unix://:{world.secret()}@/run/redis.sock")


@scenario("without HOME the rest is found all the same", selects("qdrant", 6333))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.unset("HOME")
    world.unset("PATH")


@scenario("a HOME that is not there is as good as an empty one", selects("qdrant", 6333))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.set(HOME=str(world.folder / "nowhere"), MCP_LOCK_DIR=str(world.folder / "nowhere"))


@scenario("a FIFO in the place of .env is an error, at once", fails(r"\.env:1: "))
def _(world: World) -> None:
    os.mkfifo(world.root / ".env")


@scenario("a .env of a gigabyte is an error, and not read", fails(r"\.env:1: "), stays_below(150))
def _(world: World) -> None:
    os.truncate(world.write("root/.env", "A=1\n"), 1 << 30)


@scenario("a FIFO in the place of the stack file is an error, at once", fails(r"Pulumi\.dev\.yaml:1: "))
def _(world: World) -> None:
    (world.root / "Pulumi.dev.yaml").unlink(missing_ok=True)
    os.mkfifo(world.root / "Pulumi.dev.yaml")
