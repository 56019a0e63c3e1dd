"""Lock files say who claims a service; never that it lives, nor where (docs/reliability.md, 6)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
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


_SHAPES = (True, False, -1, 0, 1.5, "1", [1], {"a": 1}, 1 << 70)


@scenario(
    "a pid that is no pid is believed by nobody",
    *(selects_nothing(f"server-{number}") for number in range(len(_SHAPES))),
    *(says(rf"\.mcp-server-{number}\.lock") for number in range(len(_SHAPES))),
)
def _(world: World) -> None:
    servers = _strangers_by_lock(world, len(_SHAPES))
    for name, shape in zip(servers, _SHAPES, strict=True):
        world.lock(name, 7000, shape)


def _strangers_by_lock(world: World, count: int) -> list[str]:
    """Names of that many configured servers; a good one answers at 7000 and must not be asked."""
    names = [f"server-{number}" for number in range(count)]
    world.write("root/.mcp/discovery-config.yaml", "servers:\n" + "".join(f"  {name}: {{}}\n" for name in names))
    world.must_not_be_asked(world.serve(legacy_mcp("server-0"), 7000))
    return names


def _symlink(good: Path) -> None:
    good.rename(good.with_suffix(".target"))
    good.symlink_to(good.with_suffix(".target"))


def _instead(good: Path, make: Callable[[Path], object]) -> None:
    good.unlink()
    make(good)


def _rewritten(good: Path, change: Callable[[bytes], bytes]) -> None:
    good.write_bytes(change(good.read_bytes()))


# What may lie in the place of a lock, made from a good one. The key ends up in no path: it is for whoever reads this.
_HOSTILE: dict[str, Callable[[Path], object]] = {
    "a symbolic link": _symlink,
    "a hard link": lambda good: os.link(good, good.with_suffix(".second")),
    "a FIFO": lambda good: _instead(good, os.mkfifo),
    "a folder": lambda good: _instead(good, Path.mkdir),
    "an endless device": lambda good: _instead(good, lambda path: os.mknod(path, 0o20600, os.makedev(1, 5))),
    "a file that all may write": lambda good: good.chmod(0o666),
    "another user's file": lambda good: os.chown(good, 12345, 12345),
    "a gigabyte": lambda good: os.truncate(good, 1 << 30),
    "no JSON": lambda good: _rewritten(good, lambda _: b"zen-mcp 7000"),
    "nothing": lambda good: _rewritten(good, lambda _: b""),
    "NUL bytes": lambda good: _rewritten(good, lambda _: b"\0" * 100),
    "deep nesting": lambda good: _rewritten(good, lambda _: b"[" * 4000),
    "a list": lambda good: _rewritten(good, lambda _: b"[]"),
    "another service's lock": lambda good: _rewritten(good, lambda text: text.replace(b"server-", b"service-")),
    "a lock without a time": lambda good: _rewritten(good, lambda text: text.replace(b"created", b"creation")),
    "a lock from the future": lambda good: _rewritten(good, lambda text: text.replace(b'"20', b'"29')),
}


@scenario(
    "what is no lock is reported, and neither opened, followed nor believed",
    *(selects_nothing(f"server-{number}") for number in range(len(_HOSTILE))),
    *(says(rf"\.mcp-server-{number}\.lock") for number in range(len(_HOSTILE))),
    ends_within(4.0),
    stays_below(150),
)
def _(world: World) -> None:
    names = _strangers_by_lock(world, len(_HOSTILE))
    for name, spoil in zip(names, _HOSTILE.values(), strict=True):
        spoil(world.lock(name, 7000, os.getpid()))


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


class _Zombie:
    """A process that has ended, and keeps its number until it is closed."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        self.child.wait()


@scenario("a lock of a process that has ended but was not awaited is stale", selects_nothing("zen-mcp"), says("lock"))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7000))
    child = world.keep(_Zombie()).child
    world.lock("zen-mcp", 7000, child.pid)


@scenario("ten thousand locks cost the budget at most", selects("qdrant", 6333), ends_within(5.5), stays_below(150))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    for number in range(10_000):
        (world.locks / f".mcp-server-{number}.lock").write_bytes(b"{}")
