"""Decide what to declare: `decide(report, settings, config) -> Plan`, pure.

Nothing here looks at the world or knows Pulumi, so the same report and settings always give the same plan, and no
reason holds anything that changes between two looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from catalog import (
    LAST_PORT,
    SERVICES,
    container_name,
    relay_name,
    relay_port,
)
from discovery.config import DiscoveryConfig
from discovery.report import DEPLOYED, AgentReport, Finding, NamedBy, Ownership, Report, Vantage, Verdict
from errors import ConfigError
from planning.changes import announcements, data_takeovers, refusal
from planning.mcp_servers import announced, asked_for, choose, host
from planning.plan import Budget, Decision, Deploy, HostCommand, Limits, Omit, Plan, Relay, Reuse, Workload, summarised
from planning.workloads import deploy, edge_of, exporter_workloads, relay_workload
from settings import StackSettings


def decide(report: Report, settings: StackSettings, config: DiscoveryConfig) -> Plan:
    """Choose for every service of the catalog. Raises `ConfigError`, one line a problem, when the stack can't be."""
    notices = [*report.warnings, *(settings.tls.warnings if settings.tls else ())]
    problems: list[str] = []
    chosen: dict[str, Reuse | Relay | HostCommand | str] = {}
    for name in settings.wanted:
        finding = _usable(name, report, settings)
        if name not in settings.declarable and not (finding and _is_named(finding)):
            finding = None
            if not any(_named(name, report)) and report.previous.get(name, {}).get("source") in (None, "omitted"):
                chosen[name] = "not named by anybody"
                continue
        chosen[name] = _source_of(name, finding, report, settings, notices, problems)

    servers = choose(report, settings, config, lambda finding: _relayable(finding, settings))
    others: dict[str, Reuse | Relay | HostCommand] = {
        name: _using(name, found, settings) if isinstance(found, Finding) else found
        for name, found in servers.items()
        if isinstance(found, Finding | HostCommand)
    }
    chosen |= others

    decisions: dict[str, Decision] = {}
    for name in SERVICES:
        choice = chosen.get(name)
        if choice is None:
            decisions[name] = Omit("not part of this stack")
        elif isinstance(choice, str) and name not in settings.declarable:
            how = _variable(name)
            decisions[name] = Omit(f"used only where it is named, and is not; set {how} to where it runs")
        elif isinstance(choice, str):
            decisions[name] = deploy(SERVICES[name], choice, settings, config, chosen)
        else:
            decisions[name] = choice

    decisions |= others
    exporters = tuple(exporter_workloads(decisions, settings))
    runs = [decision.workload for decision in decisions.values() if isinstance(decision, Deploy | Relay)]
    spare_mb = settings.config.memory_budget_mb - _budget([*runs, *exporters], settings).memory_mb
    hosting = host(servers, asked_for(settings, config), settings, spare_mb)
    decisions |= hosting.decisions
    on_this_host = [decision for decision in decisions.values() if isinstance(decision, HostCommand)]
    workloads = [*runs, *exporters, *([hosting.runner] if hosting.runner else [])]
    relayed = {str(decision.port): name for name, decision in decisions.items() if isinstance(decision, Relay)}
    budget = _budget(workloads, settings)
    problems += _over_budget(workloads, budget, settings)
    problems += _ports_twice(workloads, settings)
    problems += _ports_beyond(workloads, relayed, settings)
    problems += _in_the_way(workloads, relayed, report, settings)
    problems += _incomplete(decisions, settings)
    problems += data_takeovers(decisions, report, settings.config.pin)
    notices += _useless(decisions, settings)
    if settings.config.engine == "swarm":
        problems.append(f"Pulumi.{settings.stack}.yaml: engine: 'swarm' is not supported yet; use 'docker'")
    if problems:
        raise ConfigError("\n".join(problems))
    return Plan(
        project=settings.project,
        stack=settings.stack,
        owner=report.owner,
        decisions=decisions,
        budget=budget,
        limits=_limits(settings, config),
        agents={name: _with_services(agent, decisions, report) for name, agent in report.agents.items()},
        notices=(*notices, *hosting.notices, *announced(on_this_host), *announcements(decisions, report)),
        log_level=settings.config.log_level,
        authorities=settings.authorities,
        protect_data=settings.config.environment == "production",
        exporters=exporters,
        runner=hosting.runner,
        edge=edge_of(settings),
    )


def _with_services(agent: AgentReport, decisions: Mapping[str, Decision], report: Report) -> AgentReport:
    """The agent with its dependencies as the stack will have them, where it left them to discovery."""

    def resolved(name: str, endpoint: str | None) -> str | None:
        decision = decisions.get(name)
        found = report.services.get(name)
        discovered = found.selected.candidate.endpoint if found and found.selected else None
        return endpoint if decision is None or endpoint != discovered else summarised(decision)["endpoint"]

    return replace(agent, dependencies={name: resolved(name, url) for name, url in agent.dependencies.items()})


def _usable(name: str, report: Report, settings: StackSettings) -> Finding | None:
    """The best verified finding that the stack's containers can reach."""
    service = report.services.get(name)
    if service is None or service.selected is None or SERVICES[name].always_own:
        return None
    others = () if name in settings.config.pin else service.findings
    verified = (finding for finding in (service.selected, *others) if finding.verdict is Verdict.VERIFIED)
    return next(
        (finding for finding in verified if finding.reach.from_containers or _relayable(finding, settings)), None
    )


# What a relay can carry: a certificate would name the host that the relay stands in for, not the relay.
_RELAYED_SCHEMES = ("http", "redis")


def _relayable(finding: Finding, settings: StackSettings) -> bool:
    """Whether a relay on the engine's host leads to it. The containers of a swarm may run on any other."""
    return (
        finding.reach.vantage is Vantage.HOST_LOOPBACK
        and urlsplit(finding.candidate.endpoint).scheme in _RELAYED_SCHEMES
        and settings.config.engine == "docker"
    )


def _source_of(
    name: str,
    finding: Finding | None,
    report: Report,
    settings: StackSettings,
    notices: list[str],
    problems: list[str],
) -> Reuse | Relay | str:
    """What serves `name`: somebody else, or the reason why this stack runs it itself."""
    pin = settings.config.pin.get(name)
    if SERVICES[name].always_own:
        return "always this stack's own"
    if pin == DEPLOYED:
        return "pinned to this stack's own"
    choice = _using(name, finding, settings) if finding else None
    named = finding is not None and _is_named(finding)
    refused = None if pin else refusal(name, choice, report, named=named)
    for unusable in _named(name, report):
        _complain(name, unusable, notices, problems, needed=not named and refused is None)
    if refused:
        problems.append(refused)
    if choice is not None and not pin and SERVICES[name].data_path and _is_ours_now(name, report):
        notices.append(
            f"{name}: {choice.source} {choice.host_endpoint} is there, but this stack's own {name} holds data; kept. "
            f"To change over: pulumi config set --stack {settings.stack} --path 'pin.{name}' {choice.source}"
        )
        return _own_reason(name, settings)
    if choice is not None:
        return choice
    turned_down = _turned_down(name, report)
    if pin:
        problems.append(
            f"Pulumi.{settings.stack}.yaml: pin.{name}: {pin!r} cannot be honoured: "
            f"{turned_down or 'nothing was found there'}; start it, or remove the pin"
        )
    if turned_down:
        notices.append(f"{name}: {turned_down}")
    if not _is_ours_now(name, report) and (offer := _offer(name, report)):
        notices.append(f"{name}: {offer}")
    if unnamed := _unnamed(name, report, settings):
        notices.append(unnamed)
    if name in settings.config.expected_outside:
        how = f"set {_variable(name)} to where it runs"
        if settings.config.fallback:
            notices.append(f"{name}: expected outside but not found; declared as a fallback ({how})")
        elif not refused:
            file = f"Pulumi.{settings.stack}.yaml"
            found = "; ".join(_described(finding) for finding in _named(name, report)) or "nothing of it was found"
            problems.append(f"{file}: expectedOutside: {name}: {found}; {how}, or set fallback to true")
    return _own_reason(name, settings)


def _own_reason(name: str, settings: StackSettings) -> str:
    if name in settings.config.expected_outside:
        return "expected outside, not usable there: this stack's fallback"
    return "no usable candidate elsewhere: run by this stack"


def _offer(name: str, report: Report) -> str | None:
    """What another stack runs and this one could share, with what to do; None where there is none."""
    service = report.services.get(name)
    theirs = (
        finding
        for finding in (service.findings if service else ())
        if finding.ownership is Ownership.FOREIGN_CLAIM and finding.verdict is Verdict.SKIPPED
    )
    return next((finding.reason for finding in theirs), None)


def _unnamed(name: str, report: Report, settings: StackSettings) -> str | None:
    """What proved itself and nobody named, with the pin that takes it; None where there is nothing of that kind."""
    service = report.services.get(name)
    for finding in service.findings if service else ():
        if finding.offered:
            candidate = finding.candidate
            return (
                f"{name}: {candidate.endpoint} ({candidate.evidence}) is there, but nobody named it; not taken. "
                f"To take it: pulumi config set --stack {settings.stack} --path 'pin.{name}' {candidate.endpoint}"
            )
    return None


def _variable(name: str) -> str:
    """What the operator sets to name one that runs elsewhere."""
    return next(iter(SERVICES[name].variables), "its address")


def _is_named(finding: Finding) -> bool:
    """Whether the operator of this stack wrote the address down: as a pin, in the environment or in `.env`."""
    return finding.candidate.named_by is NamedBy.OPERATOR


def _named(name: str, report: Report) -> Iterator[Finding]:
    """What the operator named and what can't be used."""
    service = report.services.get(name)
    for finding in service.findings if service else ():
        if _is_named(finding) and finding.verdict not in (Verdict.VERIFIED, Verdict.OWNED):
            yield finding


def _complain(name: str, unusable: Finding, notices: list[str], problems: list[str], *, needed: bool) -> None:
    """What is absent is passed over aloud; a value that is no address, or a missing key, is an error (law 4)."""
    candidate = unusable.candidate
    if not candidate.endpoint:
        problems.append(f"{name}: {unusable.reason}")
    elif unusable.verdict is Verdict.AUTH_REQUIRED and needed:
        problems.append(f"{name}: {_described(unusable)}")
    else:
        notices.append(f"{name}: {_described(unusable)}; not used")


def _described(unusable: Finding) -> str:
    candidate = unusable.candidate
    return f"{candidate.evidence}: {candidate.endpoint} is {unusable.verdict.value}: {unusable.reason}"


def _is_ours_now(name: str, report: Report) -> bool:
    return report.previous.get(name, {}).get("source") == DEPLOYED


def _using(name: str, finding: Finding, settings: StackSettings) -> Reuse | Relay:
    """The finding as the stack's containers will reach it."""
    endpoint, source = finding.candidate.endpoint, finding.candidate.source.value
    title = SERVICES[name].title if name in SERVICES else "an MCP server"
    reason = f"{finding.candidate.evidence}: proved to be {title}"
    if finding.reach.vantage is Vantage.HOST_LOOPBACK:
        url, port = urlsplit(endpoint), relay_port(name, settings.config.port_offset)
        return Relay(
            workload=relay_workload(name, settings),
            port=port,
            target=url.netloc,
            endpoint=_where_it_answered(f"{url.scheme}://{relay_name(name)}:{port}{url.path}", finding.path),
            host_endpoint=endpoint,
            source=source,
            reason=f"{reason}; on this host's loopback, so through a relay",
            version=finding.version,
            holds=finding.holds,
        )
    return Reuse(
        endpoint=_where_it_answered(finding.reach.endpoint or endpoint, finding.path),
        host_endpoint=endpoint,
        source=source,
        reason=reason,
        network=finding.reach.network if finding.reach.vantage is Vantage.CONTAINER_NETWORK else None,
        network_id=finding.reach.network_id,
        version=finding.version,
        holds=finding.holds,
    )


def _where_it_answered(endpoint: str, path: str | None) -> str:
    """The endpoint with the path at which its MCP server proved itself; a server's usual `/mcp` stays unsaid."""
    parts = urlsplit(endpoint)
    if path is None or path == parts.path:
        return endpoint
    is_usual = path == "/mcp" and parts.path in ("", "/")
    return parts._replace(path="" if is_usual else path).geturl()


def _turned_down(name: str, report: Report) -> str | None:
    """Why a verified candidate is not used after all; None where there was none."""
    service = report.services.get(name)
    if service is None or service.selected is None or SERVICES[name].always_own:
        return None
    candidate = service.selected.candidate
    return (
        f"{candidate.source.value} {candidate.endpoint} ({candidate.evidence}) is verified but turned down: "
        f"{_OUT_OF_REACH.get(service.selected.reach.vantage, 'containers cannot reach it')}"
    )


_OUT_OF_REACH = {
    Vantage.HOST_LOOPBACK: "it is bound to the host's loopback, and a relay carries http and redis on this host only",
    Vantage.OTHER_LOOPBACK: "it is bound to the loopback of this machine, while the containers run on another",
    Vantage.PROCESS: "it runs inside of whoever uses it",
}


def _incomplete(decisions: Mapping[str, Decision], settings: StackSettings) -> Iterator[str]:
    """What is missing for something that would be declared."""
    file = f"Pulumi.{settings.stack}.yaml"
    for name, service in SERVICES.items():
        needed = service.of_no_use_without
        if needed and isinstance(decisions[name], Deploy) and isinstance(decisions[needed], Omit):
            yield f"{file}: services: {name} is of no use without {needed}; add {needed}, or leave {name} out"
    if settings.tls is not None and not isinstance(decisions["nginx"], Deploy):
        yield f"{file}: tlsCertificate: there is no load balancer to show it; set loadBalancer to true, or remove it"
    if isinstance(decisions["grafana"], Deploy) and "grafana" not in settings.secrets:
        yield (
            f"{file}: grafanaPassword: Grafana has no default password; set one: "
            f"pulumi config set --secret grafanaPassword --stack {settings.stack}, or GRAFANA_PASSWORD in .env; "
            "`make up` generates one"
        )


def _useless(decisions: Mapping[str, Decision], settings: StackSettings) -> Iterator[str]:
    """What would run and refuse everybody."""
    production = settings.config.environment == "production"
    if production and isinstance(decisions["promptcraft"], Deploy) and "gatewayTokens" not in settings.secrets:
        yield (
            "promptcraft: in production agents run only with bearer tokens, and none is set; set some: "
            f"pulumi config set --secret gatewayTokens --stack {settings.stack}, or GATEWAY_TOKENS in .env; "
            "`make up` generates one"
        )


def _budget(workloads: Sequence[Workload], settings: StackSettings) -> Budget:
    return Budget(
        memory_mb=sum(workload.memory_mb * len(workload.replicas) for workload in workloads),
        limit_mb=settings.config.memory_budget_mb,
        cpu_cores=round(sum(workload.cpu_cores * len(workload.replicas) for workload in workloads), 2),
        disk_gb=round(sum(workload.disk_gb * len(workload.replicas) for workload in workloads), 2),
        disk_limit_gb=settings.config.disk_budget_gb,
    )


def _over_budget(workloads: Sequence[Workload], budget: Budget, settings: StackSettings) -> Iterator[str]:
    file = f"Pulumi.{settings.stack}.yaml"
    if budget.memory_mb > budget.limit_mb:
        parts = ", ".join(
            f"{workload.service} {len(workload.replicas)} x {workload.memory_mb}" for workload in workloads
        )
        yield (
            f"{file}: memoryBudgetMb: {budget.limit_mb} MiB is less than the {budget.memory_mb} MiB of limits "
            f"({parts}); raise it, run fewer replicas, or lower resource_requirements in .mcp/discovery-config.yaml"
        )
    if budget.disk_gb > budget.disk_limit_gb:
        parts = ", ".join(f"{workload.service} {workload.disk_gb}" for workload in workloads if workload.disk_gb)
        yield (
            f"{file}: diskBudgetGb: {budget.disk_limit_gb} GB is less than the {budget.disk_gb} GB estimated "
            f"({parts}); raise it or run fewer services"
        )


def _ports_twice(workloads: Sequence[Workload], settings: StackSettings) -> Iterator[str]:
    takers: dict[int, list[str]] = {}
    for workload in workloads:
        for replica in workload.replicas:
            for port in replica.ports:
                takers.setdefault(port.external, []).append(workload.service)
    for number, services in takers.items():
        if len(services) > 1:
            yield (
                f"Pulumi.{settings.stack}.yaml: publicPort: port {number} is asked for by {' and '.join(services)}; "
                "change publicPort or publicTlsPort"
            )


def _ports_beyond(workloads: Sequence[Workload], relayed: Mapping[str, str], settings: StackSettings) -> Iterator[str]:
    """Ports that there are none of; `relayed` as for `_in_the_way`."""
    replicas = [(replica, workload.service) for workload in workloads for replica in workload.replicas]
    published = [(service, port.external) for replica, service in replicas for port in replica.ports]
    relays = [(f"the relay to {name}", int(port)) for port, name in relayed.items()]
    for who, number in (*published, *relays):
        if number > LAST_PORT:
            offset = settings.config.port_offset
            yield (
                f"Pulumi.{settings.stack}.yaml: portOffset: {offset} puts {who} on port {number}, beyond {LAST_PORT}; "
                f"use at most {offset - (number - LAST_PORT)}"
            )


def _in_the_way(
    workloads: Sequence[Workload], relayed: Mapping[str, str], report: Report, settings: StackSettings
) -> Iterator[str]:
    """Obstacles to what would be declared: each named with its holder, before anything is half-created.

    `relayed` are the ports that relays listen on, with the services behind them.
    """
    replicas = [(replica, workload.service) for workload in workloads for replica in workload.replicas]
    ports = {str(port.external): service for replica, service in replicas for port in replica.ports}
    names = {replica.name: service for replica, service in replicas}
    volumes = {workload.volume: workload.service for workload in workloads if workload.volume}
    networks = {container_name(settings.stack, "network"): "network"}
    taken: Mapping[str, Mapping[str, str]] = {
        "port": {**relayed, **ports},
        "container": names,
        "volume": volumes,
        "network": networks,
    }
    for obstacle in report.obstacles:
        if (service := taken[obstacle.kind].get(obstacle.name)) is not None:
            yield f"{service}: {obstacle.kind} {obstacle.name} is held by {obstacle.holder}; {obstacle.remedy}"


def _limits(settings: StackSettings, config: DiscoveryConfig) -> Limits:
    files = config.resource_limits
    return Limits(
        max_concurrent_agents=settings.config.max_concurrent_agents or files.max_concurrent_agents,
        agent_memory_mb=settings.config.agent_memory_mb,
        mcp_memory_mb=settings.config.mcp_memory_mb,
        total_memory_mb=files.total_memory_mb,
        models={str(model): count for model, count in files.model_limits.items()},
    )
