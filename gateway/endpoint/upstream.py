"""A server of the plan, as all callers of the endpoint share it: one connection, and what it listed last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, Implementation

from gateway.endpoint.transport import Answering, was_not_sent
from gateway.kept import Kept
from gateway.mcp_client import MCP_ERRORS, connected
from gateway.outbound import error_line
from gateway.pins.guard import ToolGuard
from gateway.plan import PlannedService
from gateway.runs.way import AnswerError

# The longest that whoever lists waits for one server; what comes later is there for the next.
LIST_SECONDS = 5.0
# What was listed, or that nothing was, is believed so long: by who lists, and by who calls what was listed before.
LISTED_SECONDS = 5.0
CALLED_SECONDS = 60.0
# Of each kind, and pages of it: a server that never ends holds nobody up.
MAX_LISTED = 2000
MAX_PAGES = 100

Reply = TypeVar("Reply")


class Kind(StrEnum):
    """What a server may list."""

    TOOLS = "tools"
    PROMPTS = "prompts"
    RESOURCES = "resources"
    TEMPLATES = "resource_templates"


@dataclass(frozen=True)
class Listing:
    """What a server listed, without what it listed twice; `note` says what of it was left out."""

    items: Sequence[Any]
    at: float
    note: str | None = None


class Upstream:
    """An answer may take `seconds` and have `max_bytes`. What `guard` withholds is not among the tools."""

    def __init__(self, name: str, service: PlannedService, seconds: float, max_bytes: int, guard: ToolGuard) -> None:
        self.name = name
        self._service = service
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._guard = guard
        self._kept: Kept | None = None
        self._listed: dict[Kind, Listing] = {}
        self._problems: dict[Kind, tuple[float, AnswerError]] = {}
        self._listing: dict[Kind, asyncio.Task[Listing]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, send: Callable[[Client], Awaitable[Reply]]) -> Reply:
        """Raises `AnswerError` where nothing was sent, else whatever of `MCP_ERRORS` came of it."""
        kept, is_new = self._connection()
        try:
            return await self._asked(kept, send)
        except _SessionGone as gone:
            self._let_go(kept)
            if is_new:
                raise AnswerError(f"{self.name}: {error_line(gone)}") from gone
        except AnswerError:
            # It was not sent, and a connection from before may just have ended.
            if is_new or not kept.is_over:
                raise
        kept, _ = self._connection()
        try:
            return await self._asked(kept, send)
        except _SessionGone as gone:
            raise AnswerError(f"{self.name}: {error_line(gone)}") from gone

    async def _asked(self, kept: Kept, send: Callable[[Client], Awaitable[Reply]]) -> Reply:
        try:
            return await kept.ask(send)
        except MCPError as error:
            if was_not_sent(error):
                raise AnswerError(f"{self.name}: {error.error.message}") from error
            # The SDK's word for a 404 in a session: the server knows it no more, and did nothing.
            if error.error.code == INVALID_REQUEST and error.error.message == "Session terminated":
                raise _SessionGone("its session ended") from error
            raise

    async def listed(self, kind: Kind, seconds: float = LISTED_SECONDS) -> Listing:
        """What it lists, no older than `seconds`. Raises `AnswerError` where it lists nothing in time."""
        known = self._listed.get(kind)
        if known is not None and time.monotonic() - known.at < seconds:
            return known
        failed_at, problem = self._problems.get(kind, (0.0, None))
        if problem is not None and time.monotonic() - failed_at < LISTED_SECONDS:
            raise AnswerError(str(problem))
        listing = self._listing.get(kind)
        if listing is None:
            listing = self._listing[kind] = asyncio.create_task(self._list(kind))
            listing.add_done_callback(lambda ended: self._has_listed(kind, ended))
        done, _ = await asyncio.wait({listing}, timeout=LIST_SECONDS)
        if not done:
            raise AnswerError(f"{self.name}: it has not listed its {kind.value} within {LIST_SECONDS:g} s")
        return listing.result()

    def withheld(self) -> dict[str, str]:
        """Why each tool that the server last listed and that is not served is not, by the tool's name."""
        judged = self._guard.last(self.name)
        if judged is None:
            return {}
        return {one.tool: why for one in judged.withheld if (why := judged.refusal(one.tool)) is not None}

    async def close(self) -> None:
        for listing in list(self._listing.values()):
            listing.cancel()
        if self._kept is not None:
            await self._kept.close()

    def _connection(self) -> tuple[Kept, bool]:
        """The connection, and whether it is yet to be made."""
        if self._kept is not None and not self._kept.is_over:
            return self._kept, False
        self._kept = Kept(self.name, self._connected)
        return self._kept, True

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        transport = Answering(self._max_bytes)
        # The bound of the whole answer is the one that says so.
        async with connected(self._service, self._seconds, transport, max_event_bytes=None) as client:
            yield client

    def _let_go(self, kept: Kept) -> None:
        if self._kept is kept:
            self._kept = None
            closing = asyncio.create_task(kept.close())
            # An event loop holds its tasks weakly.
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _has_listed(self, kind: Kind, ended: asyncio.Task[Listing]) -> None:
        del self._listing[kind]
        if ended.cancelled():
            return
        problem = ended.exception()
        if problem is None:
            self._listed[kind] = ended.result()
            self._problems.pop(kind, None)
        elif isinstance(problem, AnswerError):
            self._listed.pop(kind, None)
            self._problems[kind] = time.monotonic(), problem

    async def _list(self, kind: Kind) -> Listing:
        try:
            listing, introduced = await self.ask(lambda client: _pages(client, kind))
        except AnswerError:
            raise
        except (*MCP_ERRORS, BaseExceptionGroup) as error:
            raise AnswerError(f"{self.name}: {error_line(error)}") from error
        if kind is not Kind.TOOLS:
            return listing
        judged = await self._guard.judge(self.name, introduced, listing.items, is_whole=listing.note is None)
        note = "; ".join(one for one in (listing.note, judged.note) if one) or None
        return Listing(judged.served(listing.items), listing.at, note)


class _SessionGone(Exception):
    """The server has forgotten the session, and did nothing."""


async def _pages(client: Client, kind: Kind) -> tuple[Listing, Implementation | None]:
    """What the server lists, and who it says it is."""
    can = client.server_capabilities
    has, ask = {
        Kind.TOOLS: (can.tools, client.list_tools),
        Kind.PROMPTS: (can.prompts, client.list_prompts),
        Kind.RESOURCES: (can.resources, client.list_resources),
        Kind.TEMPLATES: (can.resources, client.list_resource_templates),
    }[kind]
    # A server without them may not even know the question.
    if has is None:
        return Listing((), time.monotonic()), client.server_info
    found: dict[str, Any] = {}
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await ask(cursor=cursor, cache_mode="refresh")
        for item in getattr(page, kind.value):
            found.setdefault(_identity(item), item)
        if len(found) > MAX_LISTED or (cursor := page.next_cursor) is None:
            break
    items = list(found.values())
    is_cut = cursor is not None or len(items) > MAX_LISTED
    note = f"of its {kind.value} the first {min(len(items), MAX_LISTED)} are listed" if is_cut else None
    return Listing(items[:MAX_LISTED], time.monotonic(), note), client.server_info


def _identity(item: Any) -> str:
    return str(getattr(item, "uri", None) or getattr(item, "uri_template", None) or item.name)


def upstreams(
    services: Mapping[str, PlannedService], seconds: float, max_bytes: int, guard: ToolGuard
) -> dict[str, Upstream]:
    """The plan's servers, in order of their names."""
    return {name: Upstream(name, services[name], seconds, max_bytes, guard) for name in sorted(services)}
