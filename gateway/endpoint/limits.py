"""How much each caller may ask of the endpoint, and how much each server is asked: calls a minute, and calls at once.

Calls a minute count over all replicas while Redis is there: each tells the others once a second, so a limit may be
passed by what comes in that second. Calls at once are each replica's own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mcp.shared.exceptions import MCPError

from gateway.runs.shared import Shared

# JSON-RPC leaves this number to whoever implements it.
LIMITED = -32029
_MINUTE = 60
_KEPT_SECONDS = 2 * _MINUTE


class LimitedError(MCPError):
    """A limit is reached; nothing was called. The data has `retry_after` in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        said = f"{message}; nothing was called, ask again in {retry_after} s"
        super().__init__(LIMITED, said, {"retry_after": retry_after})


@dataclass(frozen=True)
class Most:
    """Of one caller, or of one server; 0 for any number."""

    a_minute: int
    at_once: int


class Limits:
    def __init__(self, shared: Shared, caller: Most, server: Most) -> None:
        self._shared = shared
        self._most = {"caller": caller, "server": server}
        self._under_way: Counter[tuple[str, str]] = Counter()
        self._minute = 0
        # What this replica counted in this minute, what of it the others know, and what all counted together then.
        self._here: Counter[tuple[str, str]] = Counter()
        self._told: Counter[tuple[str, str]] = Counter()
        self._all: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def call(self, kind: str, name: str) -> Iterator[None]:
        """While a call of that caller, or to that server, lasts. Raises `LimitedError`."""
        most, who = self._most[kind], (kind, name)
        self._turn()
        counted = self._all[who] + self._here[who] - self._told[who]
        if most.a_minute and counted >= most.a_minute:
            wait = int((self._minute + 1) * _MINUTE - time.time()) + 1
            raise LimitedError(f"{kind} {name} has had its {most.a_minute} calls of this minute", wait)
        if most.at_once and self._under_way[who] >= most.at_once:
            raise LimitedError(f"{kind} {name} has {most.at_once} calls under way", 1)
        self._here[who] += 1
        self._under_way[who] += 1
        try:
            yield
        finally:
            self._under_way[who] -= 1
            if not self._under_way[who]:
                del self._under_way[who]

    async def tell(self) -> None:
        """Tells the other replicas what was counted here, and takes what they counted."""
        self._turn()
        minute, here = self._minute, dict(self._here)
        if not here:
            return
        keys = {who: self._shared.key("calls-of", str(minute), *who) for who in here}
        commands = [("INCRBY", key, here[who] - self._told[who]) for who, key in keys.items()]
        expiries = [("EXPIRE", key, _KEPT_SECONDS) for key in keys.values()]
        replies = await self._shared.use(*commands, *expiries)
        if replies is None or minute != self._minute:
            return
        for who, total in zip(keys, replies, strict=False):
            self._all[who], self._told[who] = int(total), here[who]

    def _turn(self) -> None:
        minute = int(time.time() // _MINUTE)
        if minute != self._minute:
            self._minute = minute
            self._here, self._told, self._all = Counter(), Counter(), Counter()
