"""MCP servers beyond the catalog: used where they speak HTTP, else started by the stack's runner or this host. Pure.

They come from the user's files, the project's files and npm; what is asked for and can't be had is left out with the
reason. Asked for is what `mcpServers` or `.mcp/discovery-config.yaml` names; anything else that is found is taken
along as far as the budget and the runner's memory go, and never makes a deployment fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from catalog import (
    FINDABLE,
    LAST_PORT,
    RUNNER,
    STDIO,
    container_name,
    host_name,
    host_port,
    stdio_name,
    volume_name,
)
from discovery.config import DiscoveryConfig
from discovery.report import CONTAINER, Finding, HostLaunch, Launch, Report, Verdict
from planning.plan import CERTIFICATES_FILE, FILES_PATH, EntryHeaders, HostCommand, InRunner, Omit, Replica, Workload
from settings import StackSettings
from settings.images import Image

# MiB, measured with context7, perplexity and sentry: the runner by itself, and what a server in it needs.
_RUNNER_MB = 64
_SERVER_MB = 68


Choice = Finding | InRunner | HostCommand | Omit


@dataclass(frozen=True)
class RunnerFit:
    """The servers that the runner starts or reaches, those that are left out, and the runner where one is needed."""

    decisions: Mapping[str, InRunner | Omit]
    runner: Workload | None
    notices: tuple[str, ...]

    @property
    def containers(self) -> tuple[Workload, ...]:
        """Those that servers of the runner have for themselves."""
        servers = (choice for choice in self.decisions.values() if isinstance(choice, InRunner))
        return tuple(server.container for server in servers if server.container)


def asked_for(settings: StackSettings, config: DiscoveryConfig) -> frozenset[str]:
    """The servers that somebody wants by name."""
    return frozenset({*config.servers, *settings.config.mcp_servers} - set(FINDABLE))


def servers_of(
    report: Report, settings: StackSettings, config: DiscoveryConfig, relayable: Callable[[Finding], bool]
) -> dict[str, Choice]:
    """What serves each server: the first finding that the stack can reach or start, or why there is none."""
    asked = asked_for(settings, config)

    def usable(name: str, finding: Finding) -> bool:
        # A relay takes memory, which only what was asked for may cost.
        return finding.verdict is Verdict.VERIFIED and (
            finding.reach.from_containers or (name in asked and relayable(finding))
        )

    def choice(name: str) -> Choice:
        server = config.servers.get(name)
        order = server.priority_order if server else None
        findings = report.services[name].findings if name in report.services else ()
        for finding in findings:
            if order is not None and finding.candidate.source not in order:
                continue
            if usable(name, finding):
                return finding
            match finding.candidate.launch:
                case Launch() as launch:
                    return _in_runner(name, finding, launch, settings)
                case HostLaunch() as launch if settings.config.allow_host_commands:
                    return _host_command(name, finding, launch, report, settings)
        return Omit(_why_not(findings))

    chosen = {name: choice(name) for name in sorted({*asked, *report.services} - set(FINDABLE))}
    chosen = _one_a_port(chosen)
    return {name: found for name, found in chosen.items() if name in asked or not isinstance(found, Omit)}


def fit_into_runner(
    chosen: Mapping[str, Choice], asked: Collection[str], settings: StackSettings, spare_mb: int
) -> RunnerFit:
    """Fit what was chosen into one runner. `spare_mb` is what the budget leaves for it."""
    memory_mb = settings.config.memory_limits.get(RUNNER.name, RUNNER.memory_mb)
    startable = {name: choice for name, choice in chosen.items() if isinstance(choice, InRunner)}
    by_need = sorted(startable, key=lambda name: name not in asked)
    fitting = by_need if memory_mb <= spare_mb or not startable.keys().isdisjoint(asked) else []
    fitting = fitting[: max(0, (memory_mb - _RUNNER_MB) // _SERVER_MB)] if settings.config.runner else []
    started: dict[str, InRunner] = {}
    for name in fitting:
        container = startable[name].container
        memory_mb_of_its_own = container.memory_mb if container else 0
        # What was asked for and does not fit is an error that says so.
        if name in asked or memory_mb + memory_mb_of_its_own <= spare_mb:
            started[name] = startable[name]
            spare_mb -= memory_mb_of_its_own
    left_out = {
        name: Omit(_left_out(settings, memory_mb)) for name in startable if name in asked and name not in started
    }
    omitted = {name: choice for name, choice in chosen.items() if isinstance(choice, Omit)}
    return RunnerFit(
        decisions={**omitted, **left_out, **started},
        runner=_runner(settings, memory_mb) if started else None,
        notices=(
            *(_started(name, server) for name, server in started.items()),
            *(
                _loose(name, server, package)
                for name, server in started.items()
                for package in (server.package, *server.beside)
                if server.container is None and _EXACT.fullmatch(package) is None
            ),
            *(_other_python(name, server) for name, server in started.items() if server.python),
        ),
    )


def _in_runner(name: str, finding: Finding, launch: Launch, settings: StackSettings) -> InRunner:
    how = "a container of its own runs" if launch.program == CONTAINER else "the runner starts"
    return InRunner(
        endpoint=f"http://{RUNNER.name}:{RUNNER.port}/servers/{name}/mcp",
        source=finding.candidate.source.value,
        reason=f"{finding.candidate.evidence}: {how} {launch.starts}",
        program=launch.program,
        package=launch.package,
        starts=launch.starts,
        container=_container(name, launch, settings) if launch.program == CONTAINER else None,
        beside=launch.beside,
        python=launch.python,
        evidence=finding.candidate.evidence,
        key=finding.candidate.key,
        arguments=launch.told,
        variables=launch.variables,
        sets=launch.sets,
        takes=launch.takes,
        answer_seconds=finding.candidate.answer_seconds,
    )


def _host_command(
    name: str, finding: Finding, launch: HostLaunch, report: Report, settings: StackSettings
) -> HostCommand | Omit:
    port = host_port(name, settings.config.port_offset)
    if port > LAST_PORT:
        return Omit(f"its port would be {port}, beyond {LAST_PORT}; lower portOffset")
    for obstacle in report.obstacles:
        if (obstacle.kind, obstacle.name) == ("port", str(port)):
            return Omit(f"its port {port} is held by {obstacle.holder}; {obstacle.remedy}")
    evidence = finding.candidate.evidence
    return HostCommand(
        service=name,
        port=port,
        endpoint=f"http://{host_name(name)}:{port}/mcp",
        source=finding.candidate.source.value,
        reason=f"{evidence}: its command runs on this host, by allowHostCommands",
        evidence=evidence,
        key=finding.candidate.key,
        fingerprint=launch.fingerprint,
        run=launch.run,
        ended=launch.ended,
    )


def _one_a_port(chosen: Mapping[str, Choice]) -> dict[str, Choice]:
    """The choices, of those that would share a port only the first: ports follow from names."""
    kept: dict[str, Choice] = {}
    takers: dict[int, str] = {}
    for name, choice in chosen.items():
        if isinstance(choice, HostCommand) and (taker := takers.setdefault(choice.port, name)) != name:
            choice = Omit(f"its port {choice.port} is {taker}'s; give it another name in its file")
        kept[name] = choice
    return kept


def told_headers(servers: Mapping[str, EntryHeaders]) -> Iterator[str]:
    """One line for each server that agents ask with headers of its entry: names only, no value."""
    for name, headers in servers.items():
        yield f"{name}: agents send it {', '.join(headers.names)}, as {headers.key} says"


def announced(servers: Iterable[HostCommand]) -> Iterator[str]:
    """One line for each command of this host, so that nobody agrees to it unseen."""
    for server in servers:
        again = f"; {server.ended}, so it is started again" if server.ended else ""
        yield f"{server.service}: the command in {server.evidence} runs on this host (allowHostCommands){again}"


def _why_not(findings: tuple[Finding, ...]) -> str:
    others = [finding for finding in findings if finding.verdict is not Verdict.OWNED]
    if not others:
        return "nothing is known of it; give it a package or a url in .mcp/discovery-config.yaml"
    finding = others[0]
    if finding.verdict is Verdict.VERIFIED:
        return f"{finding.candidate.endpoint} is verified, but containers cannot reach this host's loopback"
    return finding.reason


def _left_out(settings: StackSettings, memory_mb: int) -> str:
    if not settings.config.runner:
        return "speaks stdio and needs a runner, which this stack turns off (runner)"
    return f"the runner's {memory_mb} MiB are for others; raise memoryLimits.runner and, if need be, memoryBudgetMb"


def _started(name: str, server: InRunner) -> str:
    """One line for each package that is started, so that nobody agrees to it unseen: names only, no value."""
    given = f"given {', '.join(server.sets)}" if server.sets else "given no variable"
    taken = f", taken from this machine's {', '.join(server.takes)}" if server.takes else ""
    how = "a container of its own runs" if server.container else "the runner starts"
    return f"{name}: {how} {server.starts} ({server.evidence}), {given}{taken}"


# name==1.2, name@1.2.3: to npm, fewer than three numbers are a range
_EXACT = re.compile(r".+(==[0-9][0-9A-Za-z.+!-]*|@[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?)")
# What comes after a package's name: @latest, >=1.0
_VERSION = re.compile(r"(?<=.)[@=<>~!].*")


def _loose(name: str, server: InRunner, package: str) -> str:
    return (
        f"{name}: {server.program} {package} names no exact version, so what runs changes with the registry; "
        f"write {_VERSION.sub('', package)}{'@' if server.program == 'npx' else '=='}1.2.3, "
        "with the version that was tried"
    )


def _other_python(name: str, server: InRunner) -> str:
    return f"{name}: asks for Python {server.python}, and is started with the runner's own; see that it runs there"


def _container(name: str, launch: Launch, settings: StackSettings) -> Workload:
    """A server in an image of its own, as hardened as every other container."""
    service = stdio_name(name)
    return Workload(
        service=service,
        image=Image(launch.package),
        replicas=(Replica(container_name(settings.stack, service)),),
        user=STDIO.user,
        memory_mb=settings.config.memory_limits.get(service, STDIO.memory_mb),
        cpu_cores=STDIO.cpu_cores,
        pids=STDIO.pids,
        health_check=STDIO.health_check,
        environment={"HOME": "/tmp"},
        tmpfs_mb=STDIO.tmpfs_mb,
    )


def _runner(settings: StackSettings, memory_mb: int) -> Workload:
    return Workload(
        service=RUNNER.name,
        image=settings.images[RUNNER.name],
        replicas=(Replica(container_name(settings.stack, RUNNER.name)),),
        user=RUNNER.user,
        memory_mb=memory_mb,
        cpu_cores=RUNNER.cpu_cores,
        pids=RUNNER.pids,
        health_check=RUNNER.health_check,
        disk_gb=RUNNER.disk_gb,
        environment=dict(_environment(settings)),
        tmpfs_mb=RUNNER.tmpfs_mb,
        volume=volume_name(settings.stack, RUNNER.name),
        data_path=RUNNER.data_path,
    )


def _environment(settings: StackSettings) -> Iterator[tuple[str, str]]:
    """Where packages come from, under the names that npm, Node and uv know."""
    yield "LOG_LEVEL", settings.config.log_level
    if settings.config.npm_registry:
        yield "NPM_CONFIG_REGISTRY", settings.config.npm_registry
    if settings.config.python_index:
        yield "UV_DEFAULT_INDEX", settings.config.python_index
    if settings.config.package_certificates:
        yield "NODE_EXTRA_CA_CERTS", f"{FILES_PATH}/{CERTIFICATES_FILE}"
