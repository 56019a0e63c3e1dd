"""Services as they run elsewhere: clusters, replicas, forks, managed variants, old releases, behind paths and names."""

from __future__ import annotations

import sys

from ..emulators import qdrant
from ..scenario import EXTERNAL, Table, lists, refuses, says, selects, selects_nothing
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
