"""What a caller may see and call: globs over `server__tool`, and over `agent__NAME` for agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

# Stands where a server's name does; no server has it.
AGENTS = "agent"
SEPARATOR = "__"
# Where a request's state has the rights of who asks.
RIGHTS = "rights"
_API = "/api/"


@dataclass(frozen=True)
class Rights:
    """The globs that a caller has. They are held against the tool's own name, whatever it was called by."""

    globs: tuple[str, ...]

    def allows(self, server: str, tool: str) -> bool:
        """Whether a tool (or a prompt) of a server, or with `AGENTS` an agent, may be seen and called."""
        name = f"{server}{SEPARATOR}{tool}"
        return any(fnmatchcase(name, glob) for glob in self.globs)

    @property
    def allows_everything(self) -> bool:
        return "*" in self.globs

    def allows_all_of(self, server: str) -> bool:
        """Whether whatever a server has may be seen: what its resources, which are no tools, ask for."""
        return bool({"*", f"{server}{SEPARATOR}*"} & set(self.globs))

    def allows_some_of(self, server: str) -> bool:
        """Whether a server may have a tool that may be seen, whatever tools it has."""
        beginning = f"{server}{SEPARATOR}"
        # A glob reaches into the server where one of its own beginnings matches all that stands before the tool.
        return any(
            fnmatchcase(beginning, glob[:end]) and (end < len(glob) or glob.endswith("*"))
            for glob in self.globs
            for end in range(len(glob) + 1)
        )


EVERYTHING = Rights(("*",))
NOTHING = Rights(())


@dataclass(frozen=True)
class Access:
    """What the stack file gives to whom, by the caller's name; `given` is None where it says nothing of it."""

    given: Mapping[str, Rights] | None = None
    production: bool = False

    def rights(self, name: str, path: str) -> Rights:
        """What the caller of that name may do at that path.

        Where nothing is given, everything in development. In production the API is as it was before there was
        `access`, and elsewhere there is nothing.
        """
        if self.given is not None:
            return self.given.get(name, NOTHING)
        return EVERYTHING if not self.production or path.startswith(_API) else NOTHING
