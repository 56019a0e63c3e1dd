"""The values that discovery passes on: a candidate, what was found out about it, and the report.

All of them are frozen, print, compare, and go through JSON and back. Nothing here does I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1

# What stands for a source where a stack runs a service itself.
DEPLOYED = "deployed"
OMITTED = "omitted"  # where nothing is used
# Between the evidence and the title, in the reason for taking what is another's.
PROVED = ": proved to be "


class Source(StrEnum):
    """Where a candidate comes from, in the default order of priority."""

    EXTERNAL = "external_deployment"
    USER = "user_installation"
    PROJECT = "project_configuration"
    DOCKER = "docker_service"
    NPX = "npx_cloud"


DEFAULT_PRIORITY: tuple[Source, ...] = tuple(Source)


class Verdict(StrEnum):
    """What asking a candidate came to. Only `VERIFIED` is ever reused."""

    VERIFIED = "verified"
    IMPOSTOR = "impostor"
    UNREACHABLE = "unreachable"
    UNHEALTHY = "unhealthy"
    AUTH_REQUIRED = "auth_required"
    OWNED = "owned"
    SKIPPED = "skipped"


class Ownership(StrEnum):
    """Whose a candidate is (docs/reliability.md, 5).

    `OURS`: our labels and its id in the stack's checkpoint. `ORPHAN`: our labels, in no checkpoint.
    `FOREIGN_CLAIM`: labels of another stack or project. `EXTERNAL`: no labels of ours.
    """

    OURS = "ours"
    ORPHAN = "orphan"
    FOREIGN_CLAIM = "foreign_claim"
    EXTERNAL = "external"


class NamedBy(StrEnum):
    """Who wrote down where a candidate is. `NOBODY` did where it was only seen: a port, a process, a lock, a container.

    `OPERATOR`: the stack file, the environment or `.env`. `USER`: the user's own files. `PROJECT`: the project's.
    """

    OPERATOR = "operator"
    USER = "user"
    PROJECT = "project"
    NOBODY = "nobody"


class Vantage(StrEnum):
    """From where an endpoint can be reached."""

    ANYWHERE = "anywhere"
    HOST_LOOPBACK = "host_loopback"
    OTHER_LOOPBACK = "other_loopback"  # this machine's, while the engine runs containers on another
    CONTAINER_NETWORK = "container_network"  # `Reach.network` names the network to join
    PROCESS = "process"  # npx: runs inside whoever uses it


@dataclass(frozen=True)
class Reach:
    """A vantage; for `CONTAINER_NETWORK`, also which network (name and id), and the endpoint as seen from within it."""

    vantage: Vantage
    network: str | None = None
    endpoint: str | None = None
    network_id: str = ""

    @property
    def from_containers(self) -> bool:
        """Whether a container of the stack gets there by itself, if need be by joining a network."""
        return self.vantage in (Vantage.ANYWHERE, Vantage.CONTAINER_NETWORK)


# The program of a launch that is a container: its package is the image.
CONTAINER = "docker"


@dataclass(frozen=True)
class Launch:
    """A server that speaks stdio, as a runner would start it: `npx` or `uvx`, the package, and which of its programs.

    Or as a container: `docker`, the image, and the entrypoint where it is another than the image's.

    `beside` are packages that are installed with it, `python` is the version of Python that was asked for, `options`
    are the installer's own.
    `arguments` and `environment` may hold secrets: they are never printed, and no report carries them. `told` is every
    word after the program where anybody may know them, None where only the file may; `variables` pairs a variable of
    the package's with the one of this machine that it is taken from. `sets` names all variables that it is given,
    `takes` all of this machine's that its arguments and variables are made of.
    """

    program: str
    package: str = field(repr=False)
    variables: tuple[tuple[str, str], ...] = ()
    sets: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    told: tuple[str, ...] | None = field(default=None, repr=False)
    beside: tuple[str, ...] = ()
    python: str | None = None
    options: tuple[str, ...] = ()
    binary: str | None = field(default=None, compare=False)
    arguments: tuple[str, ...] = field(default=(), repr=False, compare=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def starts(self) -> str:
        """What is started, with all that comes along."""
        return " ".join((self.program, " and ".join((self.package, *self.beside))))


@dataclass(frozen=True)
class HostLaunch:
    """A server that speaks stdio, as this host would start it by a command in one of the user's files.

    `fingerprint` changes with the command, its arguments and its variables, which no report carries. `run` counts the
    starts by this stack: the one that lives, or the next one; `ended` says why there has to be a next one, "" where
    there never was one or it lives.
    """

    fingerprint: str = ""
    run: int = 1
    ended: str = ""
    command: str = field(default="", repr=False, compare=False)
    arguments: tuple[str, ...] = field(default=(), repr=False, compare=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Candidate:
    """A place where a service might be, before anybody has asked it.

    `endpoint` is a URL without userinfo (`http://`, `https://`, `redis://`, `rediss://`, `npx:PACKAGE`).
    `evidence` says what made us think so (`QDRANT_HOST`, `.mcp.json: mcpServers.zen`, `container redis-1`).
    `container_id` is set where the endpoint is known to lead to a container.
    `problem` is set when the candidate must not be asked at all: it becomes a `skipped` with that reason.
    `launch` is set where a runner, or this host, could start it; `key` then finds it again: the whole place of its
    entry, of which `evidence` may be cut. `named_by` is a fact, unlike `evidence`, which is prose.
    `awaits_approval`: an entry of the project's that is left alone until somebody approves it. `is_guess`: nothing
    points to it but that such services commonly listen there. `turned_off`: Claude Code's settings say that it is not
    to be used. `headers` are what a request to it carries, with secrets that no report holds; `header_names` are their
    names. `withheld` says why one carries less than its entry has. `answer_seconds` is what its entry allows for an
    answer, None where it says nothing.
    """

    service: str
    source: Source
    endpoint: str
    evidence: str
    container_id: str | None = None
    problem: str | None = None
    launch: Launch | HostLaunch | None = None
    key: str = ""
    named_by: NamedBy = NamedBy.NOBODY
    awaits_approval: bool = False
    is_guess: bool = False
    turned_off: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    header_names: tuple[str, ...] = ()
    withheld: str = field(default="", compare=False)
    answer_seconds: float | None = None


@dataclass(frozen=True)
class Finding:
    """A candidate and what asking it came to. `reason` is one line, at most 200 characters, never a secret.

    `holds` names what is there (a Qdrant's collections, a model server's models); None where that is unknown or comes
    and goes. `path` is where an MCP server answered, which its endpoint need not say; None for everything else. `title`
    is what the program is called, where several speak the protocol. `offered`: it has proved itself, but nobody named
    it, and this stack takes only what is named.
    """

    candidate: Candidate
    verdict: Verdict
    reason: str
    version: str | None = None
    elapsed_ms: float = 0.0
    ownership: Ownership = Ownership.EXTERNAL
    reach: Reach = field(default_factory=lambda: Reach(Vantage.ANYWHERE))
    holds: tuple[str, ...] | None = None
    path: str | None = None
    title: str | None = None
    offered: bool = False


@dataclass(frozen=True)
class ServiceReport:
    """One service: `selected` is the first verified finding in order of priority, or None; `findings` is all."""

    selected: Finding | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class AgentDefinition:
    """One file that defines an agent; `tier` is one of `discovery.config.AGENT_TIERS`.

    `name` is the id, made of the name in the file, which is `title`. `notes` say what of the file was left aside.
    """

    name: str
    tier: str
    path: str
    model: str | None = None
    problem: str | None = None
    sha256: str | None = None  # of the file's bytes, so that a deployment takes what the look saw
    title: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AgentReport:
    """One agent: the definition that wins, those it shadows, and how its dependencies resolved.

    `dependencies` maps a service's name to the endpoint it resolved to, or None where it is not met.
    """

    selected: AgentDefinition | None
    shadowed: tuple[AgentDefinition, ...] = ()
    dependencies: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Obstacle:
    """Something of somebody else's that stands where this stack would put its own.

    `kind` is port, container, network or volume; `name` is what is taken (`6333`, `promptcraft-dev-redis`);
    `holder` says by whom, `remedy` what to do.
    """

    kind: str
    name: str
    holder: str
    remedy: str


@dataclass(frozen=True)
class Remembered:
    """What the last deployment said of a service, in the stack output `plan`.

    Of what is another's also its `version`, the names of the data that it `holds` (None: nobody could say), what was
    `behind` its relay, and the `evidence` by which it was found.
    """

    source: str | None = None
    endpoint: str | None = None
    reason: str | None = None
    version: str | None = None
    holds: tuple[str, ...] | None = None
    behind: str | None = None
    evidence: str | None = None

    @property
    def is_anothers(self) -> bool:
        return self.source not in (None, DEPLOYED, OMITTED)

    @property
    def place(self) -> tuple[str | None, ...]:
        """Where the service is; one relay may lead to another server than it did."""
        return self.source, self.endpoint, self.behind

    def to_texts(self) -> dict[str, str | None]:
        """As the stack output has it: texts and nulls only."""
        texts = {"source": self.source, "endpoint": self.endpoint, "reason": self.reason}
        if not self.is_anothers:
            return texts
        # As JSON: a name may hold whatever a separator could be.
        holds = None if self.holds is None else json.dumps(self.holds)
        texts |= {"version": self.version, "holds": holds}
        more = {"behind": self.behind, "evidence": self.evidence}
        return texts | {key: text for key, text in more.items() if text is not None}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str | None]) -> Remembered:
        """The inverse of `to_texts`, and what deployments before 2026-11-27 wrote."""
        reason = texts.get("reason")
        evidence = texts.get("evidence")
        if evidence is None and reason is not None and PROVED in reason:
            # It once stood in the reason only: "QDRANT_HOST: proved to be Qdrant".
            evidence = reason.partition(PROVED)[0]
        return cls(
            source=texts.get("source"),
            endpoint=texts.get("endpoint"),
            reason=reason,
            version=texts.get("version"),
            holds=_names(texts.get("holds")),
            behind=texts.get("behind"),
            evidence=evidence,
        )


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    # Once the names were written one after the other.
    return tuple(str(name) for name in names) if isinstance(names, list) else tuple(text.split(", "))


@dataclass(frozen=True)
class Report:
    """Everything one look found out. `duration_ms` and the `elapsed_ms` are its only times.

    `previous` is what the last deployment chose, by service; empty before the first. `data_writers` is what
    wrote the data of this stack's own: service to what a stand-in calls itself, or "" for the real one, as far as it is
    known. `owner` identifies the state that the stack's own objects belong to. `tool_pins` are the project's pins:
    server to the SHA-256 of its file, so that a deployment takes what the look saw.
    """

    stack: str
    duration_ms: float
    services: Mapping[str, ServiceReport]
    agents: Mapping[str, AgentReport] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    previous: Mapping[str, Remembered] = field(default_factory=dict)
    data_writers: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    tool_pins: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document that `python -m discovery --json` prints (docs/interface.md, Discovery)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "stack": self.stack,
            "duration_ms": round(self.duration_ms, 1),
            "services": {name: _service_to_json(service) for name, service in self.services.items()},
            "agents": {name: _agent_to_json(agent) for name, agent in self.agents.items()},
            "warnings": list(self.warnings),
            "obstacles": [asdict(obstacle) for obstacle in self.obstacles],
            "previous": {name: value.to_texts() for name, value in self.previous.items()},
            "data_writers": dict(self.data_writers),
            "owner": self.owner,
            "tool_pins": dict(self.tool_pins),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """The inverse of `to_json`. Raises `ValueError` for anything `to_json` would not have written."""
        try:
            if document["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema_version {document['schema_version']!r}, expected {SCHEMA_VERSION}")
            return cls(
                stack=str(document["stack"]),
                duration_ms=float(document["duration_ms"]),
                services={name: _service_from_json(name, value) for name, value in document["services"].items()},
                agents={name: _agent_from_json(name, value) for name, value in document["agents"].items()},
                warnings=tuple(str(line) for line in document["warnings"]),
                obstacles=tuple(Obstacle(**value) for value in document["obstacles"]),
                previous={str(name): Remembered.from_texts(value) for name, value in document["previous"].items()},
                # A snapshot that was committed before there were any says nothing of them.
                data_writers={str(name): str(words) for name, words in document.get("data_writers", {}).items()},
                owner=str(document["owner"]),
                tool_pins={str(name): str(digest) for name, digest in document.get("tool_pins", {}).items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a discovery report: {error!r}") from error


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    candidate = finding.candidate
    return {
        "source": candidate.source.value,
        "endpoint": candidate.endpoint,
        "verdict": finding.verdict.value,
        "reason": finding.reason,
        "evidence": candidate.evidence,
        "key": candidate.key,
        "named_by": candidate.named_by.value,
        "awaits_approval": candidate.awaits_approval,
        "is_guess": candidate.is_guess,
        "turned_off": candidate.turned_off,
        "header_names": list(candidate.header_names),
        "answer_seconds": candidate.answer_seconds,
        "elapsed_ms": round(finding.elapsed_ms, 1),
        "version": finding.version,
        "ownership": finding.ownership.value,
        "container_id": candidate.container_id,
        "launch": None if candidate.launch is None else _launch_to_json(candidate.launch),
        "reach": {
            "vantage": finding.reach.vantage.value,
            "network": finding.reach.network,
            "endpoint": finding.reach.endpoint,
            "network_id": finding.reach.network_id,
        },
        "holds": None if finding.holds is None else list(finding.holds),
        "path": finding.path,
        "title": finding.title,
        "offered": finding.offered,
    }


def _launch_to_json(launch: Launch | HostLaunch) -> dict[str, Any]:
    if isinstance(launch, HostLaunch):
        return {"fingerprint": launch.fingerprint, "run": launch.run, "ended": launch.ended}
    return {
        "program": launch.program,
        "package": launch.package,
        "variables": [list(pair) for pair in launch.variables],
        "sets": list(launch.sets),
        "takes": list(launch.takes),
        "told": None if launch.told is None else list(launch.told),
        "beside": list(launch.beside),
        "python": launch.python,
        "options": list(launch.options),
    }


def _launch_from_json(value: Mapping[str, Any] | None) -> Launch | HostLaunch | None:
    if value is None:
        return None
    if "fingerprint" in value:
        return HostLaunch(str(value["fingerprint"]), int(value["run"]), str(value["ended"]))
    pairs = tuple((str(own), str(machine)) for own, machine in value["variables"])
    told = None if value["told"] is None else tuple(str(word) for word in value["told"])
    sets, takes = (tuple(str(name) for name in value[key]) for key in ("sets", "takes"))
    # A snapshot that was committed before there were any says nothing of them.
    beside, options = (tuple(str(word) for word in value.get(key, ())) for key in ("beside", "options"))
    python = value.get("python")
    return Launch(str(value["program"]), str(value["package"]), pairs, sets, takes, told, beside, python, options)


def _finding_from_json(service: str, value: Mapping[str, Any]) -> Finding:
    reach = value["reach"]
    return Finding(
        candidate=Candidate(
            service=service,
            source=Source(value["source"]),
            endpoint=str(value["endpoint"]),
            evidence=str(value["evidence"]),
            container_id=value["container_id"],
            launch=_launch_from_json(value["launch"]),
            key=str(value["key"]),
            named_by=NamedBy(value["named_by"]),
            awaits_approval=bool(value["awaits_approval"]),
            # A snapshot that was committed before it was told says nothing of it.
            is_guess=bool(value.get("is_guess", False)),
            turned_off=bool(value.get("turned_off", False)),
            header_names=tuple(str(name) for name in value.get("header_names", ())),
            answer_seconds=value.get("answer_seconds"),
        ),
        verdict=Verdict(value["verdict"]),
        reason=str(value["reason"]),
        version=value["version"],
        elapsed_ms=float(value["elapsed_ms"]),
        ownership=Ownership(value["ownership"]),
        reach=Reach(Vantage(reach["vantage"]), reach["network"], reach["endpoint"], str(reach["network_id"])),
        holds=None if value["holds"] is None else tuple(str(name) for name in value["holds"]),
        path=value["path"],
        # A snapshot that was committed before there were any says nothing of them.
        title=value.get("title"),
        offered=bool(value["offered"]),
    )


def _service_to_json(service: ServiceReport) -> dict[str, Any]:
    return {
        "selected": None if service.selected is None else _finding_to_json(service.selected),
        "candidates": [_finding_to_json(finding) for finding in service.findings],
    }


def _service_from_json(name: str, value: Mapping[str, Any]) -> ServiceReport:
    selected = value["selected"]
    return ServiceReport(
        selected=None if selected is None else _finding_from_json(name, selected),
        findings=tuple(_finding_from_json(name, finding) for finding in value["candidates"]),
    )


def _definition_to_json(definition: AgentDefinition) -> dict[str, Any]:
    return {
        "tier": definition.tier,
        "path": definition.path,
        "model": definition.model,
        "problem": definition.problem,
        "sha256": definition.sha256,
        "title": definition.title,
        "notes": list(definition.notes),
    }


def _definition_from_json(name: str, value: Mapping[str, Any]) -> AgentDefinition:
    return AgentDefinition(
        name,
        str(value["tier"]),
        str(value["path"]),
        value["model"],
        value["problem"],
        value["sha256"],
        # A snapshot that was committed before there were any says nothing of them.
        value.get("title"),
        tuple(str(note) for note in value.get("notes", ())),
    )


def _agent_to_json(agent: AgentReport) -> dict[str, Any]:
    return {
        "selected": None if agent.selected is None else _definition_to_json(agent.selected),
        "shadowed": [_definition_to_json(definition) for definition in agent.shadowed],
        "dependencies": dict(agent.dependencies),
    }


def _agent_from_json(name: str, value: Mapping[str, Any]) -> AgentReport:
    selected = value["selected"]
    return AgentReport(
        selected=None if selected is None else _definition_from_json(name, selected),
        shadowed=tuple(_definition_from_json(name, definition) for definition in value["shadowed"]),
        dependencies={str(key): value for key, value in value["dependencies"].items()},
    )
