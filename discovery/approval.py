"""What may be done with what a project's files name: nothing, until the stack file or somebody on this machine says so.

A clone's files come from whoever pushed last. They may describe servers; nothing of them is started, called beyond the
loopback, or given a variable of this machine before it is approved. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reading.addresses import plain_address

COMMAND = "python -m discovery approve"


@dataclass(frozen=True)
class Entry:
    """One server as a project's file names it, and what it asks for.

    `does` says what approving it allows (`start npx PACKAGE`, `call URL`); `variables` are this machine's that it
    would be given. `fingerprint` changes with the entry as it is written, with those, and with the project's path.
    `name` is what its file calls it. `approved_by_settings`: the user's own settings of Claude Code approve it.
    """

    service: str
    evidence: str
    does: str
    variables: tuple[str, ...]
    fingerprint: str
    name: str = ""
    approved_by_settings: bool = False

    @property
    def described(self) -> str:
        """What approving it allows, with the names of its variables."""
        return f"{self.does} with {', '.join(self.variables)}" if self.variables else self.does


@dataclass(frozen=True)
class Approval:
    """The operator's word for one entry, as it was at that moment."""

    service: str
    evidence: str
    fingerprint: str


@dataclass(frozen=True)
class Grant:
    """What an entry may do: whether it is `approved`, and the variables of this machine that it may be given."""

    approved: bool
    variables: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Approver:
    """Everything that is approved of the project at the path `project`.

    `servers` are the stack's `mcpServers`; `variables` maps a server to those that the stack file or `.env` names for
    it; `approvals` are the operator's, `problem` says why they can't be read. `only_approved`: unapproved, not even the
    loopback is asked.
    """

    project: str = ""
    servers: frozenset[str] = frozenset()
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    approvals: tuple[Approval, ...] = ()
    only_approved: bool = False
    problem: str | None = None

    def entry(self, service: str, evidence: str, written: object, does: str, variables: Iterable[str]) -> Entry:
        """The entry that stands as `written` (plain JSON values) in a project's file."""
        names = tuple(sorted(set(variables)))
        text = json.dumps([self.project, service, written, names], sort_keys=True)
        digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
        return Entry(service, evidence, does, names, digest)

    def grant(self, entry: Entry) -> Grant:
        """What the entry may do. Another source of approval is another line in `_grants`."""
        grants = list(self._grants(entry))
        named = frozenset(self.variables.get(entry.service, ()))
        return Grant(bool(grants), named.union(*(grant.variables for grant in grants)))

    def waits(self, entry: Entry) -> str:
        """Why the entry is left alone, with the command that approves it."""
        before = [
            known for known in self.approvals if (known.service, known.evidence) == (entry.service, entry.evidence)
        ]
        state = "has changed since it was approved" if before else "waits for approval"
        return f"{state}: {COMMAND} {entry.service} (it would {entry.described})"

    def _grants(self, entry: Entry) -> Iterator[Grant]:
        if entry.service in self.servers:
            # The name alone: which variables go with it, `mcpVariables` says.
            yield Grant(approved=True)
        if entry.approved_by_settings:
            # By its name at most, whatever it says by now: it takes no variable along.
            yield Grant(approved=True)
        if any(known.fingerprint == entry.fingerprint for known in self.approvals):
            yield Grant(approved=True, variables=frozenset(entry.variables))


def is_loopback(endpoint: str) -> bool:
    """Whether a normalised endpoint leads to this machine's loopback, whatever a resolver says.

    Other names that resolve there do not count: asking for them is already a word to a stranger.
    """
    host = urlsplit(endpoint).hostname or ""
    address = plain_address(host)
    return host == "localhost" if address is None else address.is_loopback
