"""What each server without a pin listed first: kept in Redis for all replicas, and in this process where there is none.

Nothing of it ends by itself. Whoever could make it lapse could change a tool afterwards.
"""

from __future__ import annotations

import logging

from pydantic import ValidationError

from gateway.pins.tool_set import ToolSet
from gateway.runs.shared import Shared
from gateway.runs.stores import StoreError

log = logging.getLogger(__name__)

# Bytes of Redis for one server. Of a larger set only the tools' fingerprints are kept.
MAX_KEPT_BYTES = 512 * 1024


class FirstSeen:
    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._here: dict[str, ToolSet] = {}
        self._pinned: dict[str, str] = {}

    async def of(self, server: str, identity: str, now: ToolSet | None) -> ToolSet | None:
        """What the server listed first, which is `now` where it was never seen; None where that is None too.

        `identity` changes when the plan gets the server from elsewhere, or by another command or image: that is the
        operator's own doing, and another first time.
        """
        place = f"{server}:{identity}"
        key = self._shared.key("tools", place)
        try:
            (kept,) = await self._shared.need(("GET", key))
            if (known := _read(kept, server)) is not None:
                self._here[place] = known
            elif (first := self._here.get(place, now)) is not None:
                # Two replicas may meet it at once: both go by what stands there then.
                _, kept = await self._shared.need(("SET", key, _text(first), "NX"), ("GET", key))
                self._here[place] = _read(kept, server) or first
        except StoreError:
            if now is not None:
                self._here.setdefault(place, now)
        return self._here.get(place)

    async def replace(self, server: str, identity: str, accepted: ToolSet) -> None:
        """What was accepted takes its place, so that a pin that is taken away leaves what it said."""
        place, text = f"{server}:{identity}", _text(accepted)
        self._here[place] = accepted
        if self._pinned.get(place) != text and await self._shared.use(("SET", self._shared.key("tools", place), text)):
            self._pinned[place] = text


def _text(tools: ToolSet) -> str:
    text = tools.model_dump_json(exclude_defaults=True)
    return text if len(text.encode()) <= MAX_KEPT_BYTES else tools.shortened().model_dump_json(exclude_defaults=True)


def _read(text: str | None, server: str) -> ToolSet | None:
    if text is None:
        return None
    try:
        return ToolSet.model_validate_json(text)
    except ValidationError:
        # It is behind the stack's own password, so nobody's trick: a version that wrote otherwise.
        log.warning("what is remembered of %s's tools can't be read, and is taken for nothing", server)
        return None
