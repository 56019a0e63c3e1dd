"""What a caller may see and call: globs over `server__tool`, and over `agent__NAME` for agents."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

# Stands where a server's name does; no server has it.
AGENTS = "agent"
SEPARATOR = "__"
# Where a request's state has the rights of who asks.
RIGHTS = "rights"


@dataclass(frozen=True)
class Rights:
    """The globs that a caller has. They are held against the tool's own name, whatever it was called by."""

    globs: tuple[str, ...]

    def allows(self, server: str, tool: str) -> bool:
        """Whether a tool (or a prompt) of a server, or with `AGENTS` an agent, may be seen and called."""
        name = f"{server}{SEPARATOR}{tool}"
        return any(fnmatchcase(name, glob) for glob in self.globs)

    def allows_all_of(self, server: str) -> bool:
        """Whether whatever a server has may be seen: what its resources, which are no tools, ask for."""
        return bool({"*", f"{server}{SEPARATOR}*"} & set(self.globs))


EVERYTHING = Rights(("*",))
NOTHING = Rights(())
