"""What will be declared, as plain values: a decision for each service, and the workloads that are to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never
from urllib.parse import urlsplit

from catalog import MODELS, SERVICES, SHARED, HealthCheck
from discovery.report import CONTAINER, DEPLOYED, OMITTED, AgentReport, Remembered
from settings.config import OAuth as OAuth
from settings.images import Image as Image

# Where a workload keeps its files and secrets; read-only to it.
FILES_PATH = "/run/promptcraft"
SECRETS_PATH = f"{FILES_PATH}/secrets"
# Authorities that the runner trusts besides the public ones.
CERTIFICATES_FILE = "certificates.pem"
AUTHORITIES_FILE = "authorities.pem"
# Of squid's ports, of which every container of servers has two.
_FIRST_WAY_OUT = 3200


@dataclass(frozen=True)
class PublishedPort:
    """A container's port as published on the host."""

    ip: str
    external: int
    internal: int


@dataclass(frozen=True)
class Replica:
    """One container of a workload: its name on the engine and what it publishes."""

    name: str
    ports: tuple[PublishedPort, ...] = ()


@dataclass(frozen=True)
class Workload:
    """A service as it will run. Memory and tmpfs sizes in MiB, CPU in cores.

    `join` names networks of others that the containers join as well (`join_ids` are their ids), `relays` the relays
    and bridges on this host that they reach by name. `secrets` names the secrets (keys of `StackSettings.secrets`) that
    they may read under `SECRETS_PATH`.
    """

    service: str
    image: Image
    replicas: tuple[Replica, ...]
    user: str
    memory_mb: int
    cpu_cores: float
    pids: int
    health_check: HealthCheck
    disk_gb: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    tmpfs_mb: Mapping[str, int] = field(default_factory=dict)
    volume: str | None = None
    data_path: str | None = None
    needs: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    join_ids: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deploy:
    """This stack runs the service itself."""

    workload: Workload
    endpoint: str
    reason: str
    source: str = DEPLOYED


@dataclass(frozen=True)
class EntryHeaders:
    """The names of the headers that requests to an MCP server carry, and the entry that has them (`Candidate.key`)."""

    names: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Reuse:
    """Something that runs already serves.

    `endpoint` is its address for the stack's containers, `host_endpoint` for this host; `network` is the one that
    its users must join to reach it. `evidence`, `version` and `holds` (names of what is there) are as discovery found
    them; `named` says that the operator wrote the address down.
    """

    endpoint: str
    host_endpoint: str
    source: str
    reason: str
    evidence: str
    network: str | None = None
    network_id: str = ""
    version: str | None = None
    holds: tuple[str, ...] | None = None
    named: bool = False
    headers: EntryHeaders | None = None
    answer_seconds: float | None = None

    @property
    def known_as(self) -> str | None:
        """As for `Relay`."""
        return _known_as(self.endpoint, self.host_endpoint)


@dataclass(frozen=True)
class Relay:
    """Something that runs already serves, on this host's loopback, where no container reaches it.

    This stack runs `workload`, which listens on `port` of the network's gateway and hands every connection to
    `target` (`host:port`, as this host knows it). `endpoint` is the service's address for the stack's containers.
    """

    workload: Workload
    port: int
    target: str
    endpoint: str
    host_endpoint: str
    source: str
    reason: str
    evidence: str
    version: str | None = None
    holds: tuple[str, ...] | None = None
    named: bool = False
    headers: EntryHeaders | None = None
    answer_seconds: float | None = None

    @property
    def known_as(self) -> str | None:
        """The Host to ask for, where containers reach it under another name than the one it proved itself by.

        What guards a server against pages in a browser (DNS rebinding) answers to its own names only.
        """
        return _known_as(self.endpoint, self.host_endpoint)


def _known_as(endpoint: str, asked: str) -> str | None:
    known = urlsplit(asked).netloc
    return known if known != urlsplit(endpoint).netloc else None


@dataclass(frozen=True)
class InRunner:
    """An MCP server that speaks stdio: it runs in `container`, and this stack's runner speaks HTTP for it.

    `egress` holds the names that it may reach, None for all of the internet; `shares` says why it has no container of
    its own, though it has a secret. `arguments` (every word after `program`) and `variables` (the package's own, and
    the one of this machine it is taken from) hold nothing secret; `arguments` is None where that can't be known. `sets`
    names all variables that the package is given, `takes` all of this machine's that something of it is made of.
    `beside` are packages that are installed with it, `python` is the version of Python that was asked for; `starts`
    says it all in one line.
    """

    endpoint: str
    source: str
    reason: str
    program: str
    package: str
    starts: str
    evidence: str
    key: str
    container: Workload
    egress: tuple[str, ...] | None = None
    shares: str = ""
    beside: tuple[str, ...] = ()
    python: str | None = None
    arguments: tuple[str, ...] | None = None
    variables: tuple[tuple[str, str], ...] = ()
    sets: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    answer_seconds: float | None = None

    @property
    def is_image(self) -> bool:
        """Whether its container runs an image of its own, and not a package in the runner's."""
        return self.program == CONTAINER

    @property
    def is_alone(self) -> bool:
        """Whether nothing else runs in its container."""
        return self.container.service != SHARED


@dataclass(frozen=True)
class Cell:
    """A container without a network, in which `servers` run that speak stdio, and where it may go.

    `egress` is as for `InRunner`. Squid listens for it on `port`, and on `installing_port` for as long as packages are
    installed.
    """

    workload: Workload
    servers: tuple[str, ...]
    egress: tuple[str, ...] | None
    is_image: bool
    port: int
    installing_port: int


@dataclass(frozen=True)
class HostCommand:
    """An MCP server that speaks stdio: this host runs the command of the user's entry at `key` (`Candidate.key`).

    A bridge on `port` of the network's gateway speaks HTTP for it. `fingerprint` changes with the entry, `run` with
    each time that the command has to be started again, and `ended` says why it has to.
    """

    service: str
    port: int
    endpoint: str
    source: str
    reason: str
    evidence: str
    key: str
    fingerprint: str
    run: int
    ended: str = ""


@dataclass(frozen=True)
class RunHere:
    """This stack is to run the service itself; the decision that follows is `Deploy`."""

    reason: str


@dataclass(frozen=True)
class Omit:
    """Nothing is declared and nothing is used."""

    reason: str


# What serves a service of the catalog, as long as the stack's own are not worked out.
Choice = Reuse | Relay | HostCommand | RunHere | Omit
Decision = Deploy | Reuse | Relay | InRunner | HostCommand | Omit


@dataclass(frozen=True)
class Budget:
    """What all workloads together may use, and what the stack allows: MiB, cores, GB."""

    memory_mb: int
    limit_mb: int
    cpu_cores: float
    disk_gb: float
    disk_limit_gb: float

    @property
    def spare_mb(self) -> int:
        return self.limit_mb - self.memory_mb

    def with_one_more(self, workload: Workload) -> Budget:
        count = len(workload.replicas)
        return replace(
            self,
            memory_mb=self.memory_mb + workload.memory_mb * count,
            cpu_cores=round(self.cpu_cores + workload.cpu_cores * count, 2),
            disk_gb=round(self.disk_gb + workload.disk_gb * count, 2),
        )


@dataclass(frozen=True)
class Limits:
    """What the application is held to: agents at once, in total and by model, and MiB for agents and MCP."""

    max_concurrent_agents: int
    agent_memory_mb: int
    mcp_memory_mb: int
    total_memory_mb: int
    models: Mapping[str, int]


@dataclass(frozen=True)
class LocalModels:
    """The model server that was found: its address for the stack's containers, and for this host if that is another.

    `title` is what it is, `names` its models in its own order, `secret` the secret that opens it (a key of
    `StackSettings.secrets`), None where it is shown none.
    """

    endpoint: str
    host: str | None
    title: str
    names: tuple[str, ...] = ()
    secret: str | None = None


@dataclass(frozen=True)
class Models:
    """Where agents' models come from.

    `providers` are those with a key, with the secret (a key of `StackSettings.secrets`) that holds it. `names` maps
    what agents say, and `default`, to `provider:model`. `problem` says what to do where there is no model at all.
    """

    local: LocalModels | None = None
    providers: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Edge:
    """How the load balancer is reached: under `hosts` only, or under any name where there are none.

    With a `certificate` (PEM, the chain after it) by TLS on the host's port `tls_port`, which plain HTTP redirects to.
    """

    hosts: tuple[str, ...] = ()
    certificate: str | None = field(default=None, repr=False)
    tls_port: int = 443


@dataclass(frozen=True)
class Plan:
    """What will be declared, and why.

    `notices` are the lines a person should read before agreeing; `exporters` run beside the services they read;
    `runner` is what speaks for the servers that are `InRunner`, and `egress` their way out, None where there are none.
    `registries` are the hosts (with a port where it is not the usual one) that packages come from. `authorities` (PEM)
    sign for what is reused, besides the usual ones. `protect_data`: no deployment and no plain `pulumi destroy` may
    delete a data volume. `access` has the globs of tools by caller, None where the stack says nothing of it. `pinned`
    are the MCP servers whose tools the project has pins of.
    """

    project: str
    stack: str
    owner: str
    decisions: Mapping[str, Decision]
    budget: Budget
    limits: Limits
    agents: Mapping[str, AgentReport] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    log_level: str = "INFO"
    exporters: tuple[Workload, ...] = ()
    runner: Workload | None = None
    egress: Workload | None = None
    registries: tuple[str, ...] = ()
    protect_data: bool = False
    authorities: str | None = field(default=None, repr=False)
    edge: Edge = Edge()
    models: Models = field(default_factory=Models)
    pinned: frozenset[str] = frozenset()
    access: Mapping[str, tuple[str, ...]] | None = None
    oauth: OAuth | None = None

    @property
    def deployments(self) -> tuple[Deploy, ...]:
        """What this stack runs itself, each after everything it needs."""
        deploys = {name: decision for name, decision in self.decisions.items() if isinstance(decision, Deploy)}
        ordered: dict[str, Deploy] = {}

        def visit(name: str) -> None:
            for needed in SERVICES[name].needs:
                if needed in deploys:
                    visit(needed)
            ordered.setdefault(name, deploys[name])

        for name in deploys:
            visit(name)
        return tuple(ordered.values())

    @property
    def relays(self) -> tuple[Relay, ...]:
        """The relays to what serves on this host's loopback."""
        return tuple(decision for decision in self.decisions.values() if isinstance(decision, Relay))

    @property
    def in_runner(self) -> Mapping[str, InRunner]:
        """What the runner starts, by name."""
        return {name: decision for name, decision in self.decisions.items() if isinstance(decision, InRunner)}

    @property
    def headers(self) -> Mapping[str, EntryHeaders]:
        """The servers that are asked with headers of their entry, by name."""
        used = {name: one for name, one in self.decisions.items() if isinstance(one, Reuse | Relay)}
        return {name: decision.headers for name, decision in used.items() if decision.headers is not None}

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The containers of the servers that are `InRunner`, by name."""
        held: dict[str, list[str]] = {}
        for name, server in self.in_runner.items():
            held.setdefault(server.container.service, []).append(name)
        return tuple(
            Cell(
                workload=self.in_runner[names[0]].container,
                servers=tuple(sorted(names)),
                egress=self.in_runner[names[0]].egress,
                is_image=self.in_runner[names[0]].is_image,
                port=_FIRST_WAY_OUT + 2 * number,
                installing_port=_FIRST_WAY_OUT + 2 * number + 1,
            )
            for number, (_, names) in enumerate(sorted(held.items()))
        )

    @property
    def host_commands(self) -> tuple[HostCommand, ...]:
        """What this host runs for the stack."""
        return tuple(decision for decision in self.decisions.values() if isinstance(decision, HostCommand))

    def summary(self) -> dict[str, dict[str, str | None]]:
        """The stack output `plan`: per service its source, endpoint and reason."""
        return {name: remembered(decision).to_texts() for name, decision in self.decisions.items()}


def secret_of(name: str, decision: Choice | Decision | None) -> str:
    """The secret (a key of `StackSettings.secrets`) that opens what was decided on."""
    if name == MODELS.name:
        return str(MODELS.secret_key)
    over_rest = isinstance(decision, Reuse) and decision.endpoint.startswith(("http://", "https://"))
    return "upstash" if name == "redis" and over_rest else name


def remembered(decision: Decision) -> Remembered:
    """A decision as the next deployment will know it (`Report.previous`)."""
    match decision:
        case Deploy() | InRunner() | HostCommand():
            return Remembered(decision.source, decision.endpoint, decision.reason)
        case Reuse() | Relay():
            return Remembered(
                decision.source,
                decision.endpoint,
                decision.reason,
                version=decision.version,
                holds=decision.holds,
                behind=decision.target if isinstance(decision, Relay) else None,
                evidence=decision.evidence,
            )
        case Omit(reason=reason):
            return Remembered(OMITTED, None, reason)
        case _:
            assert_never(decision)
