"""Which of the project's tool pins count for a stack: those of the MCP servers that it uses."""

from __future__ import annotations

from collections.abc import Mapping

from catalog import FINDABLE, Protocol
from discovery.report import Report
from planning.plan import Decision, Omit


def pins_of(decisions: Mapping[str, Decision], report: Report) -> tuple[frozenset[str], tuple[str, ...]]:
    """The servers with a pin, and one line for each pin without a server."""
    pinned = frozenset(name for name in report.tool_pins if _is_used(name, decisions))
    loose = tuple(
        f"pins/{name}.json: this stack uses no MCP server {name}, so nothing is held against it"
        for name in sorted(report.tool_pins.keys() - pinned)
        # One that is wanted, and can't be had now, is told already.
        if name not in decisions or (name in FINDABLE and FINDABLE[name].protocol is not Protocol.MCP)
    )
    return pinned, loose


def _is_used(name: str, decisions: Mapping[str, Decision]) -> bool:
    is_mcp = name not in FINDABLE or FINDABLE[name].protocol is Protocol.MCP
    return is_mcp and name in decisions and not isinstance(decisions[name], Omit)
