"""What all servers together have, by the names that the endpoint gives it, for whoever may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.endpoint.names import exposed, own_uri
from gateway.endpoint.upstream import CALLED_SECONDS, LISTED_SECONDS, Kind, Listing, Upstream
from gateway.rights import SEPARATOR, Rights
from gateway.runs.way import AnswerError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Entry:
    """A tool, prompt, resource or template of a server, as the server lists it."""

    upstream: Upstream
    item: Any


@dataclass(frozen=True)
class Seen:
    """Entries in order of their names, and one line for each server that could not be asked or listed too much."""

    entries: Mapping[str, Entry]
    problems: Sequence[str]


class Catalogue:
    """`only` names the one server that is asked; its tools and prompts keep their own names then."""

    def __init__(self, upstreams: Mapping[str, Upstream], only: str | None = None) -> None:
        self._upstreams = upstreams if only is None else {only: upstreams[only]}
        self._only = only

    def name_of(self, server: str, name: str) -> str:
        return name if self._only is not None else exposed(server, name)

    async def seen(self, kind: Kind, rights: Rights) -> Seen:
        """All that the rights allow to see; a server that does not answer costs its own only."""
        names = [name for name in self._upstreams if kind in _NAMED or rights.allows_all_of(name)]
        found = await asyncio.gather(*(self._listed(self._upstreams[name], kind, LISTED_SECONDS) for name in names))
        entries: dict[str, Entry] = {}
        problems = []
        for server, listing in zip(names, found, strict=True):
            if isinstance(listing, str):
                problems.append(listing)
                continue
            if listing.note is not None:
                problems.append(f"{server}: {listing.note}")
            for item in listing.items:
                if kind in _NAMED:
                    if rights.allows(server, item.name):
                        entries.setdefault(self.name_of(server, item.name), Entry(self._upstreams[server], item))
                else:
                    entries.setdefault(f"{server} {_uri(item)}", Entry(self._upstreams[server], item))
        return Seen(dict(sorted(entries.items())), problems)

    async def find(self, kind: Kind, name: str, rights: Rights) -> Entry | None:
        """The tool or prompt of that name; None where there is none, or none that may be seen.

        Raises `AnswerError` where its server can't be asked.
        """
        for server in self._servers_of(name):
            upstream = self._upstreams[server]
            for seconds in (CALLED_SECONDS, LISTED_SECONDS):
                listing = await upstream.listed(kind, seconds)
                for item in listing.items:
                    if self.name_of(server, item.name) == name:
                        return Entry(upstream, item) if rights.allows(server, item.name) else None
        return None

    def withheld(self, name: str, rights: Rights) -> tuple[Upstream, str, str] | None:
        """Whose tool has that name but is not served for what it became, its own name, and why; None for any other."""
        for server in self._servers_of(name):
            for tool, why in self._upstreams[server].withheld().items():
                if self.name_of(server, tool) == name:
                    return (self._upstreams[server], tool, why) if rights.allows(server, tool) else None
        return None

    def _servers_of(self, name: str) -> list[str]:
        servers = [server for server in self._upstreams if self._only or name.startswith(f"{server}{SEPARATOR}")]
        # A name that was cut may lack the end of its server's.
        return servers or list(self._upstreams)

    def owner(self, uri: str, rights: Rights) -> tuple[Upstream, str] | None:
        """The server that a resource is of, and the URI that it knows; None where there is none that may be seen."""
        found = (self._only, uri) if self._only is not None else own_uri(uri, self._upstreams)
        return (self._upstreams[found[0]], found[1]) if found is not None and rights.allows_all_of(found[0]) else None

    @staticmethod
    async def _listed(upstream: Upstream, kind: Kind, seconds: float) -> Listing | str:
        try:
            return await upstream.listed(kind, seconds)
        except AnswerError as error:
            return f"without the {kind.value} of {error}"


# What rights know by name. Resources are none of a tool's.
_NAMED = frozenset({Kind.TOOLS, Kind.PROMPTS})


def _uri(item: Any) -> str:
    return str(getattr(item, "uri", None) or item.uri_template)


def page(entries: Mapping[str, Item], cursor: str | None, most: int) -> tuple[list[tuple[str, Item]], str | None]:
    """The entries after `cursor`, which is the last name of the page before, and the cursor of the next page.

    So a list that changes meanwhile repeats nothing, and leaves out nothing that was there all the time.
    """
    left = [(name, entry) for name, entry in entries.items() if cursor is None or name > cursor]
    return left[:most], left[most - 1][0] if len(left) > most else None
