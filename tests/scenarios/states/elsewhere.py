"""Services as they run elsewhere: clusters, replicas, forks, managed variants, old releases, behind paths and names."""

from __future__ import annotations

import sys

from ..emulators import old_prometheus, old_qdrant, qdrant, site
from ..impostors import greeter
from ..outcome import LOOPBACK
from ..scenario import EXTERNAL, Table, lists, refuses, says, selects, selects_nothing
from ..servers import Reply
from ..tls import certificate
from ..world import World

scenario = Table()


# --- Redis ---


@scenario(
    "a node of a cluster is not usable, and its bus is left alone",
    lists("redis", 17379, "unhealthy", reason=r"is a node of a cluster.*; name one without cluster-enabled"),
    lists(
        "redis", 27379, "skipped", reason=r"another port of the process that answers at 127\.0\.0\.1:17379.*left alone"
    ),
    selects_nothing("redis"),
)
def _(world: World) -> None:
    world.redis(17379, "--cluster-enabled", "yes", "--bind", "127.0.0.1")


@scenario(
    "a Sentinel is told as one",
    lists("redis", 26379, "impostor", EXTERNAL, reason="is a Redis Sentinel.*; name the master that it watches"),
    selects_nothing("redis"),
)
def _(world: World) -> None:
    configuration = world.write("sentinel.conf", "port 26379\nbind 127.0.0.1\n")
    world.sentinel(configuration, 26379)
    world.set(REDIS_URL="redis://127.0.0.1:26379")


@scenario(
    "a replica names its master",
    lists("redis", 7380, "unhealthy", EXTERNAL, reason=r"is a replica.*; name its master, 127\.0\.0\.1:7379"),
    selects_nothing("redis"),
)
def _(world: World) -> None:
    world.redis(7380, "--replicaof", "127.0.0.1", "7379")
    world.set(REDIS_URL="redis://127.0.0.1:7380")


@scenario("a database by its number is asked for", selects("redis", 7379, EXTERNAL, path=None))
def _(world: World) -> None:
    world.redis(7379)
    world.set(REDIS_URL="redis://127.0.0.1:7379/3")


@scenario(
    "a database that is not there is told",
    says(r"Redis [0-9.]+ has no database 3; name another one"),
)
def _(world: World) -> None:
    world.redis(7379, "--databases", "2")
    world.set(REDIS_URL="valkey://127.0.0.1:7379?db=3")


@scenario("valkey:// is Redis' protocol under another name", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    password = world.secret()
    world.redis(7379, "--requirepass", password)
    world.set(REDIS_URL=f"valkey://:{password}@127.0.0.1:7379")


@scenario("a Redis whose INFO is renamed proves itself otherwise", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    world.redis(7379, "--rename-command", "INFO", "", "--rename-command", "HELLO", "")
    world.set(REDIS_URL="redis://127.0.0.1:7379")


def _unencoded(text: str, reason: str) -> None:
    def start(world: World) -> None:
        world.set(REDIS_URL=text.replace("SECRET", world.secret()))

    checks = (refuses("redis", "REDIS_URL"), says(rf"REDIS_URL: the value {reason}"))
    scenario(f"a REDIS_URL like {text} says what to write", *checks)(start)


_ENCODE = r"has a character in its password that ends an address; percent-encode it: # is %23, / %2F, \? %3F"
_unencoded("redis://:a#SECRET@127.0.0.1:7379", _ENCODE)
_unencoded("rediss://app:SECRET/b@127.0.0.1:7379/0", _ENCODE)
_unencoded("redis://:12?SECRET@127.0.0.1:7379", _ENCODE)
_unencoded("valkey://:[SECRET@127.0.0.1:7379", _ENCODE)
_unencoded("redis+sentinel://:SECRET@127.0.0.1:26379/mymaster", "names Sentinels; name the master")
_unencoded("redis://:SECRET@127.0.0.1:7379,127.0.0.1:7380", "lists several hosts, as a cluster has them")
_unencoded("redis://:SECRET@127.0.0.1:7379/cache", "has a path that is no database's number")


# --- Qdrant ---

_TWO_PORTS = """
import pathlib, threading
from scenarios.emulators import qdrant
from scenarios.servers import Server

def inner(connection):
    pathlib.Path("spoken-to").touch()

for port in (17334, 17335):
    Server(inner, port)
Server(qdrant(), 17333)
threading.Event().wait()
"""


@scenario(
    "a Qdrant's gRPC and what its nodes say to each other are left alone",
    selects("qdrant", 17333, EXTERNAL),
    *(lists("qdrant", port, "skipped", reason=r"127\.0\.0\.1:17333.*: left alone") for port in (17334, 17335)),
)
def _(world: World) -> None:
    program = world.folder / "qdrant"
    program.symlink_to(sys.executable)
    world.process(program, world.write("two_ports.py", _TWO_PORTS), port=17333)
    world.must_not_exist(world.folder / "spoken-to")


@scenario("QDRANT_URL leads to Qdrant", selects("qdrant", 7333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 7333)
    world.set(QDRANT_URL="http://127.0.0.1:7333/")


@scenario("QDRANT_URL without a port means 6333", lists("qdrant", 6333, "verified", EXTERNAL, evidence="QDRANT_URL"))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.set(QDRANT_URL="http://localhost")


@scenario(
    "a Qdrant behind a path is found there, at the scheme's own port",
    selects("qdrant", 80, EXTERNAL),
    selects("qdrant", 80, endpoint="http://127.0.0.1:80/qdrant"),
)
def _(world: World) -> None:
    world.serve(qdrant(below="/qdrant"), 80)
    world.set(QDRANT_URL="http://127.0.0.1/qdrant")


@scenario("a Qdrant of before the health checks is one all the same", selects("qdrant", 6333, version="1.4.1"))
def _(world: World) -> None:
    world.serve(old_qdrant("1.4.1"), 6333)


@scenario("gRPC is told from HTTP", lists("qdrant", 6334, "impostor", EXTERNAL, reason="HTTP/2 only, as gRPC does"))
def _(world: World) -> None:
    # A SETTINGS frame, as every server of gRPC sends it at once.
    world.serve(greeter(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"), 6334)
    world.set(QDRANT_URL="http://127.0.0.1:6334")


# --- Prometheus and Grafana ---


@scenario(
    "a Prometheus below a path says where it is to who asks at its root",
    lists("prometheus", 9090, "impostor", EXTERNAL, reason=r"redirect \(302\) to '/prom'.*; name what is meant"),
    selects_nothing("prometheus"),
)
def _(world: World) -> None:
    world.prometheus(9090, "--web.external-url=http://127.0.0.1:9090/prom")


@scenario("a Prometheus of long ago is one all the same", selects("prometheus", 9090, version="2.12.0"))
def _(world: World) -> None:
    world.serve(old_prometheus("2.12.0"), 9090)


@scenario("a Grafana that hides its version is known by its login page", selects("grafana", 3000, version=None))
def _(world: World) -> None:
    login = Reply("<html><title>Grafana</title><script>window.grafanaBootData = {}</script></html>")
    world.serve(site({"/api/health": Reply({"database": "ok"}), "/login": login}), 3000)


@scenario(
    "health without a version and without a login page is nobody's",
    lists("grafana", 3000, "impostor", reason="neither its version nor its login page"),
    selects_nothing("grafana"),
)
def _(world: World) -> None:
    world.serve(site({"/api/health": Reply({"database": "ok"}), "/login": Reply("<title>Grafana</title>")}), 3000)


@scenario(
    "a Grafana below a path says where it is",
    lists("grafana", 3000, "impostor", reason=r"redirect \(301\) to '/grafana/api/health'"),
)
def _(world: World) -> None:
    world.serve(site({}, Reply("", 301, {"Location": "/grafana/api/health"})), 3000)


# --- names and certificates ---


@scenario(
    "an MCP server that serves under other names only says so with 403, too",
    lists(
        "zen-mcp", 7000, "unhealthy", EXTERNAL, reason=r"answers 403 at /mcp: it does not serve as 127\.0\.0\.1:7000"
    ),
)
def _(world: World) -> None:
    error = {"jsonrpc": "2.0", "error": {"code": -32000, "message": "Invalid Host: 127.0.0.1:7000"}, "id": None}
    world.serve(site({}, Reply(error, 403)), 7000)
    world.set(ZEN_MCP_URL="http://127.0.0.1:7000")


@scenario(
    "what refuses its name is told as such, whatever it is",
    lists("qdrant", 7333, "unhealthy", EXTERNAL, reason="answers 421: it does not serve under this name"),
    lists("grafana", 7030, "unhealthy", EXTERNAL, reason="answers 403: it does not serve under this name"),
    lists("models", 7434, "unhealthy", EXTERNAL, reason="as Ollama to a name that it does not serve; ask it by"),
)
def _(world: World) -> None:
    world.serve(site({}, Reply("Misdirected Request", 421)), 7333)
    world.serve(site({}, Reply('Blocked request. This host ("a.example") is not allowed.', 403)), 7030)
    world.serve(site({}, Reply("", 403)), 7434)
    world.set(QDRANT_URL="http://127.0.0.1:7333", GRAFANA_URL="http://127.0.0.1:7030")
    world.set(OLLAMA_HOST="http://127.0.0.1:7434")


@scenario(
    "a certificate of a private authority names the setting, and with it the service is used",
    lists(
        "redis", 7379, "unreachable", EXTERNAL, hosts=LOOPBACK, reason="TLS: .*; name a file of its authority in caFile"
    ),
)
def _(world: World) -> None:
    _redis_over_tls(world)


@scenario("a private authority that caFile names vouches for it", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    _redis_over_tls(world)
    world.write("root/ca.pem", (world.folder / "cert.pem").read_bytes())
    world.configure("caFile", "ca.pem")


def _redis_over_tls(world: World) -> None:
    certificate(world.folder, "localhost")
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no")
    world.redis(0, "--tls-port", "7379", *files, listens=7379)
    world.set(REDIS_URL="valkeys://localhost:7379")


@scenario(
    "TLS where none is spoken says so",
    lists(
        "redis", 7379, "unreachable", EXTERNAL, hosts=LOOPBACK, evidence="REDIS_URL", reason="it may speak without TLS"
    ),
)
def _(world: World) -> None:
    world.serve(greeter(b"-ERR unknown command\r\n"), 7379)
    world.set(REDIS_URL="rediss://localhost:7379")


@scenario(
    "plain HTTP where TLS is spoken says so",
    lists("grafana", 7443, "unhealthy", EXTERNAL, reason="over TLS only; name it as https://"),
)
def _(world: World) -> None:
    world.serve(site({}, Reply("Client sent an HTTP request to an HTTPS server.\n", 400)), 7443)
    world.set(GRAFANA_URL="http://127.0.0.1:7443")
