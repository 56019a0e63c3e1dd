"""What one look is asked to do, and what a source of candidates is given: plain values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from discovery.approval import Approver, Entry
from discovery.report import Candidate, Remembered
from discovery.world import Inventory, Listener
from errors import ConfigError
from settings import Committed

__all__ = [
    "DEFAULT_BUDGET_SECONDS",
    "Checkpoint",
    "ConfigError",
    "Credential",
    "Gathered",
    "Probe",
    "Request",
]

DEFAULT_BUDGET_SECONDS = 2.0


@dataclass(frozen=True)
class Checkpoint:
    """What the stack's state says is ours.

    `known` is False where the state could not be read: then nothing can be proved ours.
    `ids` are the engine ids of containers in the state; `owner` identifies that state (`LABEL_OWNER`).
    `previous` maps a service to what the last deployment's `plan` output said of it.
    `host_runs` maps a service to the run of the command of this host that serves it.
    `pending` counts the steps that an update began and never reported the end of.
    `problem` says, for a person, why the state is not `known`.
    """

    known: bool = True
    ids: frozenset[str] = frozenset()
    owner: str = ""
    previous: Mapping[str, Remembered] = field(default_factory=dict)
    host_runs: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Credential:
    """A secret for one service; never printed. Sent only to who has proved what it is.

    `headers` are those that the entry of an MCP server has.
    """

    username: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Request:
    """All inputs of one look.

    `environment` is the process environment over the project's `.env`; `origins` tells for each name which
    (`"environment"` or `".env"`); `taken` names the environment's variables that one of `.env` is made of. `warnings`
    are the settings', for the report. `committed` is what a `.env` says that git tracks: none of it is in
    `environment`. `host_ports` are those that the stack may publish. `pins` maps a service to a
    source or an endpoint. `credentials` maps a service to what it may be asked with once its identity is proved.
    `authorities` (PEM) sign for services besides the machine's own. `servers` names MCP servers that the stack wants
    besides its own services; `host_commands`: whether it may run commands of the user's files on this host;
    `other_tools`: whether files of other tools than Claude Code count among those.
    `approver` knows what of the project's files is approved. `only_named`: what nobody wrote down is offered, and not
    taken. `budget_seconds` is the wall-clock limit of it all.
    """

    root: Path
    home: Path
    stack: str
    project: str
    environment: Mapping[str, str]
    origins: Mapping[str, str] = field(default_factory=dict)
    taken: Mapping[str, frozenset[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    committed: Committed = field(default_factory=Committed)
    port_offset: int = 0
    host_ports: tuple[int, ...] = ()
    share: frozenset[str] = frozenset()
    pins: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, Credential] = field(default_factory=dict, repr=False)
    authorities: str | None = field(default=None, repr=False)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    servers: tuple[str, ...] = ()
    host_commands: bool = False
    other_tools: bool = True
    approver: Approver = field(default_factory=Approver)
    only_named: bool = False
    lock_dir: Path = Path("/tmp")
    budget_seconds: float = DEFAULT_BUDGET_SECONDS

    @property
    def machine_environment(self) -> Mapping[str, str]:
        """The environment without `.env`, which lies in the project: for what tells where the user's own files are."""
        return {name: value for name, value in self.environment.items() if self.origins.get(name) != ".env"}


@dataclass(frozen=True)
class Gathered:
    """What one source of candidates came up with, and what a person should know of it.

    `inventory` and `listeners` are what the engine and the process table said, where the probe asked them: they tell
    whose the candidates of all the others are. `entries` are those of the project's files that can be approved.
    """

    candidates: tuple[Candidate, ...] = ()
    warnings: tuple[str, ...] = ()
    inventory: Inventory | None = None
    listeners: tuple[Listener, ...] | None = None
    entries: tuple[Entry, ...] = ()


class Probe(Protocol):
    """One source of candidates. May block; the caller holds it to the deadline.

    Never raises for what the world contains (a broken foreign file is a warning); `ConfigError` for our own files.
    """

    def __call__(self, request: Request) -> Gathered: ...
