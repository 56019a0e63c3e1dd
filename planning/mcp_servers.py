"""MCP servers beyond the catalog: used where they speak HTTP, else started by the stack's runner or this host. Pure.

They come from the user's files, the project's files and npm; what is asked for and can't be had is left out with the
reason. Asked for is what `mcpServers` or `.mcp/discovery-config.yaml` names; anything else that is found is taken
along as far as the budget and the runner's memory go, and never makes a deployment fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from catalog import (
    EGRESS,
    FINDABLE,
    LAST_PORT,
    RUNNER,
    SHARED,
    STDIO,
    WAY_OUT_PORT,
    container_name,
    host_name,
    host_port,
    stdio_name,
)
from discovery.config import DiscoveryConfig
from discovery.report import CONTAINER, Finding, HostLaunch, Launch, Report, Verdict
from planning.plan import CERTIFICATES_FILE, FILES_PATH, EntryHeaders, HostCommand, InRunner, Omit, Replica, Workload
from settings import StackSettings
from settings.images import Image

# MiB, measured with context7, perplexity and sentry: the runner by itself, and what a server in the shared container
# needs. An installer needs more, which is why one server alone has `STDIO.memory_mb`.
_RUNNER_MB = 64
_SERVER_MB = 60
# For the names of others in a reason of one line.
_MOST_NAMED = 3


Choice = Finding | InRunner | HostCommand | Omit


@dataclass(frozen=True)
class RunnerFit:
    """The servers that the runner speaks for, those that are left out, and the runner with its way out where one is
    needed."""

    decisions: Mapping[str, InRunner | Omit]
    workloads: tuple[Workload, ...]
    notices: tuple[str, ...]

    def workload(self, service: str) -> Workload | None:
        """The one of that name."""
        return next((workload for workload in self.workloads if workload.service == service), None)


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
                    return _in_runner(name, finding, launch, server.egress if server else None, settings)
                case HostLaunch() as launch if settings.config.allow_host_commands:
                    return _host_command(name, finding, launch, report, settings)
        return Omit(_why_not(findings))

    chosen = {name: choice(name) for name in sorted({*asked, *report.services} - set(FINDABLE))}
    chosen = _one_a_port(chosen)
    return {name: found for name, found in chosen.items() if name in asked or not isinstance(found, Omit)}


def fit_into_runner(
    chosen: Mapping[str, Choice], asked: Collection[str], settings: StackSettings, spare_mb: int
) -> RunnerFit:
    """Fit what was chosen into the runner's containers. `spare_mb` is what the budget leaves for them.

    First who runs at all, then who has a container of its own: what was asked for comes first in both.
    """
    total_mb = settings.config.memory_limits.get(RUNNER.name, RUNNER.memory_mb)
    startable = {name: choice for name, choice in chosen.items() if isinstance(choice, InRunner)}
    runs = settings.config.runner and (total_mb <= spare_mb or not startable.keys().isdisjoint(asked))
    by_need = sorted(startable, key=lambda name: name not in asked) if runs else []
    places = max(0, (total_mb - _RUNNER_MB - EGRESS.memory_mb) // _SERVER_MB)
    left_mb = spare_mb - total_mb
    started: dict[str, InRunner] = {}
    for name in by_need:
        server = startable[name]
        if _needs_its_own(server):
            # What was asked for and does not fit is an error that says so.
            if name in asked or server.container.memory_mb <= left_mb:
                started[name] = _apart(server)
                left_mb -= server.container.memory_mb
        elif places:
            started[name] = replace(server, container=_shared(settings))
            places -= 1
    started |= _alone(started, startable, asked, settings, left_mb)
    left_out = {
        name: Omit(_left_out(settings, total_mb)) for name in startable if name in asked and name not in started
    }
    omitted = {name: choice for name, choice in chosen.items() if isinstance(choice, Omit)}
    return RunnerFit(
        decisions={**omitted, **left_out, **started},
        workloads=tuple(_workloads(started, settings)) if started else (),
        notices=(
            *(_started(name, server) for name, server in started.items()),
            *(_shares(name, server) for name, server in started.items() if server.shares),
            *(
                _loose(name, server, package)
                for name, server in started.items()
                for package in (server.package, *server.beside)
                if not server.is_image and _EXACT.fullmatch(package) is None
            ),
            *(_other_python(name, server) for name, server in started.items() if server.python),
        ),
    )


def _needs_its_own(server: InRunner) -> bool:
    """Whether it can't share: an image is a container, and who shares one shares its way out."""
    return server.is_image or server.egress is not None


def _has_secret(server: InRunner) -> bool:
    """Whether it is given what may be one: any variable, and arguments that only its file may know."""
    return bool(server.sets or server.takes) or server.arguments is None


def _alone(
    started: Mapping[str, InRunner],
    startable: Mapping[str, InRunner],
    asked: Collection[str],
    settings: StackSettings,
    left_mb: int,
) -> dict[str, InRunner]:
    """The servers of the shared container that get one of their own, and those that the budget leaves there."""
    sharing = [name for name, server in started.items() if not server.is_alone]
    wanting = [name for name in sharing if _has_secret(started[name])]
    if wanting == sharing:
        # Without anybody in it, the shared container is not needed.
        freed_mb = left_mb + _shared_mb(settings)
        if sum(startable[name].container.memory_mb for name in wanting) <= freed_mb:
            return {name: _apart(startable[name]) for name in wanting}
    alone: dict[str, InRunner] = {}
    for name in wanting:
        if startable[name].container.memory_mb <= left_mb:
            alone[name] = _apart(startable[name])
            left_mb -= startable[name].container.memory_mb
    others = [name for name in sharing if name not in alone]
    kept = [name for name in others if name in wanting and len(others) > 1]
    return alone | {name: _told_to_share(name, started[name], others, max(0, left_mb)) for name in kept}


def _told_to_share(name: str, server: InRunner, others: Sequence[str], left_mb: int) -> InRunner:
    beside = [other for other in others if other != name]
    more = f" and {len(beside) - _MOST_NAMED} more" if len(beside) > _MOST_NAMED else ""
    why = f"shares the runner with {', '.join(beside[:_MOST_NAMED])}{more}, because the budget leaves {left_mb} MiB"
    return replace(server, reason=f"{server.reason}; {why}", shares=why)


def _apart(server: InRunner) -> InRunner:
    return server if server.is_image else replace(server, reason=f"{server.reason} in a container of its own")


def _shared_mb(settings: StackSettings) -> int:
    total_mb = settings.config.memory_limits.get(RUNNER.name, RUNNER.memory_mb)
    return max(0, total_mb - _RUNNER_MB - EGRESS.memory_mb)


def _in_runner(
    name: str, finding: Finding, launch: Launch, egress: tuple[str, ...] | None, settings: StackSettings
) -> InRunner:
    is_image = launch.program == CONTAINER
    how = f"a container of its own runs {launch.starts}" if is_image else f"the runner starts {launch.starts}"
    return InRunner(
        endpoint=f"http://{RUNNER.name}:{RUNNER.port}/servers/{name}/mcp",
        source=finding.candidate.source.value,
        reason=f"{finding.candidate.evidence}: {how}",
        program=launch.program,
        package=launch.package,
        starts=launch.starts,
        container=_own(name, launch, egress, settings),
        egress=egress,
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
    how = "a container of its own runs" if server.is_image else "the runner starts"
    where = "; it may reach " + (", ".join(server.egress) or "nothing") if server.egress is not None else ""
    return f"{name}: {how} {server.starts} ({server.evidence}), {given}{taken}{where}"


def _shares(name: str, server: InRunner) -> str:
    """One line for each server whose keys others can read."""
    return f"{name}: {server.shares}, so they can read what it is given; raise memoryBudgetMb to keep them apart"


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


def _own(name: str, launch: Launch, egress: tuple[str, ...] | None, settings: StackSettings) -> Workload:
    """The container of one server, as hardened as every other."""
    service = stdio_name(name)
    is_image = launch.program == CONTAINER
    workload = _servers(service, settings)
    return replace(
        workload,
        image=Image(launch.package) if is_image else workload.image,
        memory_mb=settings.config.memory_limits.get(service, STDIO.memory_mb),
        environment={
            **({"HOME": "/tmp"} if is_image else dict(_packages_environment(settings))),
            **(_WAY_OUT if egress != () else {}),
        },
        tmpfs_mb=STDIO.tmpfs_mb if is_image else RUNNER.tmpfs_mb,
    )


def _shared(settings: StackSettings) -> Workload:
    """The container of the servers that have none of their own."""
    return replace(
        _servers(SHARED, settings),
        memory_mb=_shared_mb(settings),
        cpu_cores=RUNNER.cpu_cores,
        pids=RUNNER.pids,
        environment={**dict(_packages_environment(settings)), **_WAY_OUT},
        tmpfs_mb=RUNNER.tmpfs_mb,
    )


def _servers(service: str, settings: StackSettings) -> Workload:
    return Workload(
        service=service,
        image=settings.images[RUNNER.name],
        replicas=(Replica(container_name(settings.stack, service)),),
        user=STDIO.user,
        memory_mb=STDIO.memory_mb,
        cpu_cores=STDIO.cpu_cores,
        pids=STDIO.pids,
        health_check=STDIO.health_check,
    )


def _workloads(started: Mapping[str, InRunner], settings: StackSettings) -> Iterator[Workload]:
    """The runner, its way out, and each container of servers once."""
    yield Workload(
        service=RUNNER.name,
        image=settings.images[RUNNER.name],
        replicas=(Replica(container_name(settings.stack, RUNNER.name)),),
        user=RUNNER.user,
        memory_mb=_RUNNER_MB,
        cpu_cores=RUNNER.cpu_cores,
        pids=RUNNER.pids,
        health_check=RUNNER.health_check,
        # Of all packages together, whoever has them.
        disk_gb=RUNNER.disk_gb,
        environment={"LOG_LEVEL": settings.config.log_level},
        tmpfs_mb=RUNNER.tmpfs_mb,
    )
    yield Workload(
        service=EGRESS.name,
        image=settings.images[EGRESS.name],
        replicas=(Replica(container_name(settings.stack, EGRESS.name)),),
        user=EGRESS.user,
        memory_mb=EGRESS.memory_mb,
        cpu_cores=EGRESS.cpu_cores,
        pids=EGRESS.pids,
        health_check=EGRESS.health_check,
        tmpfs_mb=EGRESS.tmpfs_mb,
    )
    yield from {server.container.service: server.container for server in started.values()}.values()


# The names under which programs look for a proxy, in both cases, and what makes Node.js look at all
# (https://nodejs.org/api/cli.html#node_use_env_proxy1).
_PROXY = f"http://127.0.0.1:{WAY_OUT_PORT}"
_WAY_OUT: Mapping[str, str] = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _PROXY),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"),
    "NODE_USE_ENV_PROXY": "1",
}


def registries(settings: StackSettings) -> tuple[str, ...]:
    """The hosts that packages come from, with a port where an address names one."""
    npm = [urlsplit(settings.config.npm_registry).netloc] if settings.config.npm_registry else ["registry.npmjs.org"]
    # The index names its files at another host.
    python = [urlsplit(settings.config.python_index).netloc] if settings.config.python_index else []
    return tuple(dict.fromkeys([*npm, *(python or ["pypi.org", "files.pythonhosted.org"])]))


def _packages_environment(settings: StackSettings) -> Iterator[tuple[str, str]]:
    """Where packages come from, under the names that npm, Node and uv know."""
    yield "LOG_LEVEL", settings.config.log_level
    if settings.config.npm_registry:
        yield "NPM_CONFIG_REGISTRY", settings.config.npm_registry
    if settings.config.python_index:
        yield "UV_DEFAULT_INDEX", settings.config.python_index
    if settings.config.package_certificates:
        yield "NODE_EXTRA_CA_CERTS", f"{FILES_PATH}/{CERTIFICATES_FILE}"
