"""Which service a server in somebody's file is: its name there, as a name that containers and paths can have."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import catalog
from discovery.config import is_name

_MAX_NAME = 200
_MAX_SLUG = 48  # leaves room for the digits that tell two apart
_DIGITS = 6
_CONFIGURED_AS = {name: service.name for service in catalog.FINDABLE.values() for name in service.configured_as}


def service_name(name: str) -> str | None:
    """The service that a server called `name` in an `mcpServers` document would provide, or None for no usable name.

    `redis` there is an MCP server *for* Redis, not Redis itself: it becomes `redis-mcp`. What other scripts write is
    told apart by digits that follow from the name alone, so that it is the same service at every look.
    """
    if not any(character.isalnum() for character in name[:_MAX_NAME]):
        return None
    text = _slug(name[:_MAX_NAME])
    if text in _CONFIGURED_AS:
        return _CONFIGURED_AS[text]
    if text in catalog.FINDABLE or text == catalog.AGENTS:
        return f"{text}-mcp"
    is_whole = all(character.isascii() or not character.isalnum() for character in name)
    return text if is_whole and is_name(text) else _told_apart(text, name)


def service_names(names: Iterable[str]) -> Mapping[str, str]:
    """The services of the servers of one file, by their names there, without those that have no usable name.

    Two names that would be one service (`foo_bar`, `foo-bar`) are two: the one that is written like the service keeps
    its name. Several names of one of the catalog's services mean that service.
    """
    found = {name: service for name in names if (service := service_name(name)) is not None}
    often = Counter(found.values())
    return {
        name: service
        if often[service] == 1 or name == service or service in catalog.FINDABLE
        else _told_apart(service, name)
        for name, service in found.items()
    }


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _told_apart(text: str, name: str) -> str:
    digits = hashlib.sha256(name.encode("utf-8", errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{text[:_MAX_SLUG].strip('-') or 'server'}-{digits}"
