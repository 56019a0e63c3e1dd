"""How many tokens of models each caller has used today (UTC), over all replicas while Redis is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.errors import ApiError
from gateway.runs.shared import Shared

# Beyond the day, for clocks that differ.
_KEPT_SECONDS = 2 * 86_400


class DayTokens:
    """`most` is each caller's bound, 0 for none."""

    def __init__(self, shared: Shared, most: int) -> None:
        self._shared = shared
        self._most = most
        # What this replica has counted today: all there is without Redis.
        self._here: dict[str, int] = {}
        self._day = ""

    async def check(self, caller: str) -> None:
        """Raises `ApiError` 429 where the caller has used its tokens of today."""
        if not self._most:
            return
        used = self._counted_here(caller)
        replies = await self._shared.use(("GET", self._key(caller)))
        if replies is not None:
            used = max(used, int(replies[0] or 0))
        if used < self._most:
            return
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        bound = f"{self._most} (PROMPTCRAFT_DAY_TOKENS)"
        message = f"{used} tokens of models were used today, of {bound}; ask again tomorrow (UTC)"
        raise ApiError(429, "day_tokens_used", message, {"Retry-After": str(int((midnight - now).total_seconds()) + 1)})

    async def add(self, caller: str, tokens: int) -> None:
        if not self._most:
            return
        self._here[caller] = self._counted_here(caller) + tokens
        key = self._key(caller)
        await self._shared.use(("INCRBY", key, tokens), ("EXPIRE", key, _KEPT_SECONDS))

    def _counted_here(self, caller: str) -> int:
        if self._day != (today := _today()):
            self._day, self._here = today, {}
        return self._here.get(caller, 0)

    def _key(self, caller: str) -> str:
        return self._shared.key("tokens", _today(), caller)


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
