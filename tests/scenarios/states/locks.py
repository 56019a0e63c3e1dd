"""Lock files say who claims a service; never that it lives, nor where (RELIABILITY section 6, row 11)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ..emulators import legacy_mcp, qdrant
from ..impostors import yes_man
from ..scenario import EXTERNAL, Table, ends_within, lists, says, selects, selects_nothing, stays_below
from ..world import World

scenario = Table()


@scenario(
    "a lock whose process lives and whose endpoint proves itself leads to the service",
    selects("zen-mcp", 7000, EXTERNAL),
    lists("zen-mcp", 7000, "verified", evidence=r"\.mcp-zen-mcp\.lock"),
)
def _(world: World) -> None:
    pid = world.emulator("mcp", "zen-mcp", 7000)
    world.lock("zen-mcp", 7000, pid)


def _dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


@scenario(
    "a lock of a dead process is reported, and not followed",
    selects_nothing("zen-mcp"),
    says("lock"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
    world.lock("zen-mcp", 7000, _dead_pid())


@scenario(
    "a lock older than the process that now has its number is reported, and not followed",
    selects_nothing("zen-mcp"),
    says("lock"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
    world.lock("zen-mcp", 7000, os.getpid(), created="2020-01-01T00:00:00Z")


@scenario("a lock whose endpoint is dead is reported", selects_nothing("zen-mcp"), says("lock"))
def _(world: World) -> None:
    world.lock("zen-mcp", 7000, os.getpid())


@scenario(
    "a lock that leads to something else leads nowhere", selects_nothing("zen-mcp"), lists("zen-mcp", 7000, "impostor")
)
def _(world: World) -> None:
    world.serve(yes_man({"status": "ok"}), 7000)
    world.lock("zen-mcp", 7000, os.getpid())


for shape in (True, False, -1, 0, 1.5, "1", [1], {"a": 1}, 1 << 70):

    def _start(world: World, pid: object = shape) -> None:
        world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
        world.lock("zen-mcp", 7000, pid)

    scenario(f"a pid of {json.dumps(shape)} is no pid", selects_nothing("zen-mcp"), says("lock"))(_start)


def _hostile(what: str, place: Callable[[World], None], *more: object) -> None:
    """A lock that must not be opened, followed or believed."""

    def start(world: World) -> None:
        world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
        place(world)

    checks = (selects_nothing("zen-mcp"), says("lock"), ends_within(1.5), stays_below(200))
    scenario(f"{what} in the place of a lock is reported, and not believed", *checks)(start)


def _path(world: World) -> Path:
    return world.locks / ".mcp-zen-mcp.lock"


def _symlink(world: World) -> None:
    good = world.lock("zen-mcp", 7000, os.getpid())
    good.rename(world.folder / "target")
    good.symlink_to(world.folder / "target")


def _hard_link(world: World) -> None:
    os.link(world.lock("zen-mcp", 7000, os.getpid()), world.folder / "second-name")


def _strangers(world: World) -> None:
    os.chown(world.lock("zen-mcp", 7000, os.getpid()), 12345, 12345)


def _huge(world: World) -> None:
    os.truncate(world.lock("zen-mcp", 7000, os.getpid()), 1 << 30)


_hostile("a symbolic link", _symlink)
_hostile("a hard link", _hard_link)
_hostile("a FIFO", lambda world: os.mkfifo(_path(world)))
_hostile("a folder", lambda world: _path(world).mkdir())
_hostile("a device", lambda world: os.mknod(_path(world), 0o20600, os.makedev(1, 5)))
_hostile("a file that all may write", lambda world: world.lock("zen-mcp", 7000, os.getpid()).chmod(0o666))
_hostile("another user's file", _strangers)
_hostile("a gigabyte", _huge)
_hostile("no JSON", lambda world: _write(world, b"zen-mcp 7000"))
_hostile("an empty file", lambda world: _write(world, b""))
_hostile("NUL bytes", lambda world: _write(world, b"\0" * 100))
_hostile("deep nesting", lambda world: _write(world, b"[" * 4000))
_hostile("a list", lambda world: _write(world, b"[]"))
_hostile("another service's lock", lambda world: _write(world, _document("qdrant")))
_hostile(
    "a lock with a key twice", lambda world: _write(world, _document("zen-mcp").replace(b"{", b'{"service": "x", ', 1))
)


def _name() -> str:
    return "locks/.mcp-zen-mcp.lock"


def _document(service: str) -> bytes:
    document = {"service": service, "endpoint": "http://127.0.0.1:7000", "project": "someone", "stack": "else"}
    return json.dumps(document | {"pid": os.getpid(), "created": datetime.now(UTC).isoformat()}).encode()


def _write(world: World, content: bytes) -> None:
    world.write(_name(), content)


@scenario("a lock that leads to a file leads nowhere", selects_nothing("zen-mcp"), says("lock"))
def _(world: World) -> None:
    world.lock("zen-mcp", 7000, os.getpid(), endpoint="file:///etc/passwd")


@scenario("a password in a lock's endpoint is not shown", selects_nothing("redis"))
def _(world: World) -> None:
    world.lock("redis", 7379, os.getpid(), endpoint=f"redis://:{world.secret()}@127.0.0.1:7379")


@scenario("a lock of another stack that shares its service leads to it", selects("qdrant", 7333))
def _(world: World) -> None:
    pid = world.emulator("qdrant", "1.12.0", 7333)
    world.lock("qdrant", 7333, pid, project="promptcraft-hybrid", stack="production")
    world.configure("share", ["qdrant"])


@scenario("a lock's own text reaches no terminal", selects_nothing("qdrant"))
def _(world: World) -> None:
    world.serve(qdrant(), 7333)
    world.lock("qdrant", 7333, os.getpid(), project="\x1b[2J\n[OK] qdrant ours", stack="x" * 2000)
