"""The one place that every server's list of tools passes: what is not as it was accepted goes no further."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import mcp_types
from mcp.client.client import Client

from gateway.pins.first_seen import FirstSeen
from gateway.pins.judge import Verdict, judge
from gateway.pins.tool_set import ToolSet, canonical, read_pin, tool_set
from gateway.plan import Plan, PlannedService
from gateway.runs.shared import Shared

log = logging.getLogger(__name__)

# So long a verdict is believed by who only calls a tool, and did not list any.
FRESH_SECONDS = 60.0
# Tools of one server that are listed; a list that goes on is never taken for what a server has first.
MAX_LISTED = 2000
ACCEPT = "python -m discovery accept"

AcceptedBy = Literal["pin", "first_seen"]


@dataclass(frozen=True)
class Judged:
    """A server's tools as they are, and what is to be thought of each.

    `accepted_by` is what they were held against: the committed pin, or what was seen first. `is_whole`: the list came
    to its end.
    """

    server: str
    tools: ToolSet
    verdicts: Mapping[str, Verdict]
    accepted_by: AcceptedBy
    is_whole: bool
    at: float

    def serves(self, tool: str) -> bool:
        """Whether a tool may be listed and called. One that the server does not list may not."""
        verdict = self.verdicts.get(tool)
        return verdict is not None and verdict.is_served

    def served(self, tools: Iterable[mcp_types.Tool]) -> list[mcp_types.Tool]:
        """Those of `tools` that may be listed. Of two with one name only the first was judged, and only it is here."""
        by_name: dict[str, mcp_types.Tool] = {}
        for tool in tools:
            if self.serves(tool.name):
                by_name.setdefault(tool.name, tool)
        return list(by_name.values())

    @property
    def withheld(self) -> list[Verdict]:
        """The tools that the server lists and that are not served."""
        return [one for one in self.verdicts.values() if one.kind in ("blocked", "new")]

    def refusal(self, tool: str) -> str | None:
        """That a tool is not served, and the cure; None where it is, or where there is no such tool.

        Without the reason: it has words of the server's, and a model may be told of the refusal.
        """
        verdict = self.verdicts.get(tool)
        if verdict is None or verdict.kind not in ("blocked", "new"):
            return None
        return f"{self.server}: {tool} is not what was accepted, and not served: {ACCEPT} {self.server}"

    @property
    def note(self) -> str | None:
        """What to say of the tools that are withheld, without a word of the server's; None where there are none."""
        if not (count := len(self.withheld)):
            return None
        told = f"{count} tool{'s are' if count > 1 else ' is'}"
        return f"{told} not what was accepted, and not served: {ACCEPT} {self.server}"


class ToolGuard:
    """Judges every list of tools that arrives. One a process; `pins` are what was accepted, by server."""

    def __init__(self, plan: Plan, shared: Shared, pins: Mapping[str, ToolSet]) -> None:
        self._services = plan.used("mcp")
        self._pins = pins
        self._first_seen = FirstSeen(shared)
        self._last: dict[str, Judged] = {}
        self._known: dict[str, tuple[str, tuple[Verdict, ...]]] = {}

    async def judge(
        self,
        server: str,
        introduced: mcp_types.Implementation | None,
        tools: Sequence[mcp_types.Tool],
        *,
        is_whole: bool = True,
    ) -> Judged:
        """What is to be thought of the tools that a server lists now. Never raises for what they are."""
        now = await asyncio.to_thread(tool_set, introduced, tools)
        identity = self._identity(server)
        pin = self._pins.get(server)
        if pin is not None:
            await self._first_seen.replace(server, identity, pin)
            accepted: ToolSet | None = pin
        else:
            accepted = await self._first_seen.of(server, identity, now if is_whole else None)
        verdicts = await self._verdicts(server, now, accepted)
        judged = Judged(
            server=server,
            tools=now,
            verdicts={one.tool: one for one in verdicts},
            accepted_by="first_seen" if pin is None else "pin",
            is_whole=is_whole,
            at=time.monotonic(),
        )
        before = self._last.get(server)
        if judged.note and (before is None or before.note != judged.note):
            log.warning("%s: %s", server, judged.note, extra={"server": server})
        self._last[server] = judged
        return judged

    def last(self, server: str) -> Judged | None:
        """What was found when the server was last heard."""
        return self._last.get(server)

    async def refusal(self, server: str, client: Client, tool: str) -> str | None:
        """Why a tool may not be called, asking the server what it has where that is too long ago. Raises
        `MCP_ERRORS`."""
        judged = self._last.get(server)
        if judged is None or time.monotonic() - judged.at > FRESH_SECONDS or tool not in judged.verdicts:
            tools, is_whole = await listed(client)
            judged = await self.judge(server, client.server_info, tools, is_whole=is_whole)
        return judged.refusal(tool)

    async def _verdicts(self, server: str, now: ToolSet, accepted: ToolSet | None) -> tuple[Verdict, ...]:
        asked = canonical([[tool.fingerprint() for tool in now.tools], [] if accepted is None else _marks(accepted)])
        known = self._known.get(server)
        if known is None or known[0] != asked:
            # Beside the requests of others: reading a hundred tools takes a second.
            known = (asked, await asyncio.to_thread(judge, now, accepted))
            self._known[server] = known
        return known[1]

    def _identity(self, server: str) -> str:
        service: PlannedService | None = self._services.get(server)
        return (service.identity if service is not None else None) or "-"


def load_pins(plan: Plan) -> dict[str, ToolSet]:
    """The pins that the plan names, by server. Raises `PinError`."""
    return {name: read_pin(one.pin) for name, one in plan.used("mcp").items() if one.pin is not None}


async def listed(client: Client) -> tuple[list[mcp_types.Tool], bool]:
    """What a server lists now, and whether that is all. Raises `MCP_ERRORS`."""
    tools: list[mcp_types.Tool] = []
    cursor: str | None = None
    # A server without tools may not even know the question.
    while client.server_capabilities.tools is not None:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        if (cursor := page.next_cursor) is None:
            break
        if len(tools) >= MAX_LISTED:
            return tools[:MAX_LISTED], False
    return tools[:MAX_LISTED], len(tools) <= MAX_LISTED


def _marks(tools: ToolSet) -> list[str]:
    return [f"{tool.name}={tool.fingerprint()}" for tool in tools.tools]
