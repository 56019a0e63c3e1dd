"""Servers of another person of this machine: told as theirs, offered, and taken only where they are named."""

from __future__ import annotations

from ..scenario import EXTERNAL, Table, lists, selects, selects_nothing
from ..world import World

scenario = Table()

_PERSON = 1777
_DAEMON = 177  # as Debian runs its servers


@scenario(
    "another user's server is offered, and not taken",
    lists(
        "redis",
        6379,
        "skipped",
        EXTERNAL,
        reason=r"nobody named it, and it belongs to user 1777 of this machine; to take it, pin\.redis: redis://127\.0",
        offered=True,
    ),
    selects_nothing("redis"),
)
def _(world: World) -> None:
    world.redis(6379, user=_PERSON)


@scenario("a daemon's own account is no other user", selects("redis", 6379, EXTERNAL, offered=False))
def _(world: World) -> None:
    world.redis(6379, user=_DAEMON)


@scenario("one's own server is taken before another user's", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    world.redis(6379, user=_PERSON)
    world.redis(7379)


@scenario(
    "another user's server that the environment names is taken, and told as theirs",
    selects("redis", 6379, EXTERNAL),
    lists("redis", 6379, "verified", evidence="REDIS_URL", reason="it belongs to user 1777 of this machine"),
)
def _(world: World) -> None:
    world.redis(6379, user=_PERSON)
    world.set(REDIS_URL="redis://127.0.0.1:6379")


@scenario("another user's server that a pin names is taken", selects("redis", 6379, EXTERNAL))
def _(world: World) -> None:
    world.redis(6379, "--bind", "0.0.0.0", "--protected-mode", "no", user=_PERSON)
    world.configure("pin", {"redis": "redis://127.0.0.1:6379"})
