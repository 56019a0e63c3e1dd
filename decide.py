"""Decide what to declare: `decide(report, settings, config) -> Plan`, pure.

Nothing here looks at the world or knows Pulumi, so the same report and settings always give the same plan, and no
reason holds anything that changes between two looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from catalog import EXPORTERS, EXPORTERS_IMAGE, SERVICES, Exporter, Service, container_name, volume_name
from discovery.config import DiscoveryConfig
from discovery.report import AgentReport, Finding, Report, Vantage, Verdict
from errors import ConfigError
from plan import (
    DEPLOYED,
    FILES_PATH,
    SECRETS_PATH,
    Budget,
    Decision,
    Deploy,
    Limits,
    Omit,
    Plan,
    PublishedPort,
    Replica,
    Reuse,
    Workload,
    summarised,
)
from settings import StackSettings

LOOPBACK = "127.0.0.1"
ALL_INTERFACES = "0.0.0.0"


def decide(report: Report, settings: StackSettings, config: DiscoveryConfig) -> Plan:
    """Choose for every service of the catalog. Raises `ConfigError`, one line a problem, when the stack can't be."""
    notices = list(report.warnings)
    problems: list[str] = []
    chosen: dict[str, Reuse | str] = {}
    for name in settings.wanted:
        finding = _usable(name, report, settings)
        chosen[name] = _source_of(name, finding, report, settings, notices, problems)

    networks = {name: choice.network for name, choice in chosen.items() if isinstance(choice, Reuse) and choice.network}
    decisions: dict[str, Decision] = {}
    for name in SERVICES:
        choice = chosen.get(name)
        if choice is None:
            decisions[name] = Omit("not part of this stack")
        elif isinstance(choice, Reuse):
            decisions[name] = choice
        else:
            decisions[name] = _deploy(SERVICES[name], choice, settings, config, networks)

    deploys = [decision for decision in decisions.values() if isinstance(decision, Deploy)]
    exporters = tuple(_exporters(decisions, settings))
    workloads = [*(deploy.workload for deploy in deploys), *exporters]
    budget = _budget(workloads, deploys, settings)
    problems += _over_budget(workloads, deploys, budget, settings)
    problems += _in_the_way(workloads, report, settings)
    problems += _incomplete(decisions, settings)
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
        notices=tuple(notices + list(_changes(decisions, report))),
        log_level=settings.config.log_level,
        exporters=exporters,
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
    if service is None or service.selected is None or name in _OUR_OWN:
        return None
    others = () if name in settings.config.pin else service.findings
    verified = (finding for finding in (service.selected, *others) if finding.verdict is Verdict.VERIFIED)
    return next((finding for finding in verified if _reachable(finding)), None)


# The application and its front door are what a stack is for: never somebody else's.
_OUR_OWN = frozenset({"promptcraft", "nginx"})


def _reachable(finding: Finding) -> bool:
    return finding.reach.vantage in (Vantage.ANYWHERE, Vantage.CONTAINER_NETWORK)


def _source_of(
    name: str,
    finding: Finding | None,
    report: Report,
    settings: StackSettings,
    notices: list[str],
    problems: list[str],
) -> Reuse | str:
    """What serves `name`: a `Reuse`, or the reason why this stack runs it itself."""
    previous = report.previous.get(name, {}).get("source")
    pinned = name in settings.config.pin
    if finding is not None and previous == DEPLOYED and SERVICES[name].data_path and not pinned:
        notices.append(
            f"{name}: {finding.candidate.source.value} {finding.candidate.endpoint} is there, but this stack's own "
            f"{name} holds data; kept. To change over: "
            f"pulumi config set --path 'pin.{name}' {finding.candidate.source.value}"
        )
        return _own_reason(name, settings)
    if finding is not None:
        network = finding.reach.network if finding.reach.vantage is Vantage.CONTAINER_NETWORK else None
        return Reuse(
            endpoint=finding.reach.endpoint or finding.candidate.endpoint,
            host_endpoint=finding.candidate.endpoint,
            source=finding.candidate.source.value,
            reason=f"{finding.candidate.evidence}: proved to be {SERVICES[name].title}",
            network=network,
        )
    turned_down = _turned_down(name, report)
    if pinned:
        problems.append(
            f"Pulumi.{settings.stack}.yaml: pin.{name}: {settings.config.pin[name]!r} cannot be honoured: "
            f"{turned_down or 'nothing was found there'}; start it, or remove the pin"
        )
    if turned_down:
        notices.append(f"{name}: {turned_down}")
    if name in settings.config.expected_outside:
        how = f"set {_VARIABLES.get(name, 'its address')} to where it runs"
        if not settings.config.fallback:
            problems.append(
                f"Pulumi.{settings.stack}.yaml: expectedOutside: {name} was not found; {how}, or set fallback to true"
            )
        else:
            notices.append(f"{name}: expected outside but not found; declared as a fallback ({how})")
    return _own_reason(name, settings)


_VARIABLES = {"qdrant": "QDRANT_HOST", "zen-mcp": "ZEN_MCP_URL", "redis": "REDIS_URL", "prometheus": "PROMETHEUS_URL"}


def _own_reason(name: str, settings: StackSettings) -> str:
    if name in _OUR_OWN:
        return "always this stack's own"
    if name in settings.config.expected_outside:
        return "expected outside, not usable there: this stack's fallback"
    return "no usable candidate elsewhere: run by this stack"


def _turned_down(name: str, report: Report) -> str | None:
    """Why a verified candidate is not used after all; None where there was none."""
    service = report.services.get(name)
    if service is None or service.selected is None or name in _OUR_OWN:
        return None
    candidate = service.selected.candidate
    return (
        f"{candidate.source.value} {candidate.endpoint} ({candidate.evidence}) is verified but turned down: "
        "it is bound to the host's loopback, which containers cannot reach"
    )


def _changes(decisions: Mapping[str, Decision], report: Report) -> Iterator[str]:
    """One line for each service whose source differs from the last deployment's."""
    for name, decision in decisions.items():
        before = report.previous.get(name)
        now = summarised(decision)
        if before is None or (before.get("source"), before.get("endpoint")) == (now["source"], now["endpoint"]):
            continue
        why = _absence(name, before, report) or now["reason"]
        yield f"{name}: was {_described(before)}, will be {_described(now)}: {why}"


def _absence(name: str, before: Mapping[str, str | None], report: Report) -> str | None:
    """What became of what was used before: the candidate at its endpoint, or with the same evidence."""
    service = report.services.get(name)
    for finding in service.findings if service else ():
        candidate = finding.candidate
        same_place = before.get("endpoint") in (candidate.endpoint, finding.reach.endpoint)
        same_evidence = (before.get("reason") or "").startswith(f"{candidate.evidence}:")
        if (same_place or same_evidence) and finding.verdict is not Verdict.VERIFIED:
            return f"{candidate.evidence} is {finding.verdict.value}: {finding.reason}"
    return None


def _described(summary: Mapping[str, str | None]) -> str:
    return f"{summary.get('source')} {summary.get('endpoint') or ''}".strip()


_SCHEMES = {"redis": "redis"}
_PATHS = {"zen-mcp": "/mcp"}


def _deploy(
    service: Service, reason: str, settings: StackSettings, config: DiscoveryConfig, networks: Mapping[str, str]
) -> Deploy:
    """The service as this stack runs it. `networks` names those that users of a reused service must join."""
    server = config.servers.get(service.name)
    required = server.resource_requirements if server else None
    image = settings.images[service.name]
    workload = Workload(
        service=service.name,
        image=image,
        replicas=_replicas(service, settings),
        user=service.user,
        memory_mb=(required.memory_mb if required and required.memory_mb else service.memory_mb),
        cpu_cores=(required.cpu_cores if required and required.cpu_cores else service.cpu_cores),
        pids=service.pids,
        health_check=service.health_check,
        environment=_environment(service, settings),
        tmpfs_mb=service.tmpfs_mb,
        volume=volume_name(settings.stack, service.name) if service.data_path else None,
        data_path=service.data_path,
        needs=service.needs,
        join=tuple(sorted({network for name, network in networks.items() if _uses(service, name)})),
        secrets=tuple(name for name in (service.name, *service.needs) if name in settings.secrets),
    )
    scheme = _SCHEMES.get(service.name, "http")
    endpoint = f"{scheme}://{service.name}:{service.port}{_PATHS.get(service.name, '')}"
    named = f"{reason} ({image.stand_in})" if image.stand_in else reason
    return Deploy(workload=workload, endpoint=endpoint, reason=named)


def _exporters(decisions: Mapping[str, Decision], settings: StackSettings) -> Iterator[Workload]:
    """An exporter for each service of this stack's own that needs one, where a Prometheus can reach it."""
    match decisions["prometheus"]:
        case Deploy() | Reuse(network=str()):
            wanted = [one for one in EXPORTERS.values() if isinstance(decisions[one.service], Deploy)]
        case _:
            wanted = []
    for exporter in wanted:
        yield _exporter(exporter, settings)


def _exporter(exporter: Exporter, settings: StackSettings) -> Workload:
    return Workload(
        service=exporter.name,
        image=settings.images[EXPORTERS_IMAGE],
        replicas=(Replica(container_name(settings.stack, exporter.name)),),
        user=exporter.user,
        memory_mb=exporter.memory_mb,
        cpu_cores=exporter.cpu_cores,
        pids=exporter.pids,
        health_check=exporter.health_check,
        needs=(exporter.service,),
        secrets=tuple({exporter.service} & settings.secrets.keys()),
    )


def _uses(service: Service, name: str) -> bool:
    """Whether `service` talks to `name`; the application asks after everybody's health."""
    return service.name == "promptcraft" or name in service.needs


def _replicas(service: Service, settings: StackSettings) -> tuple[Replica, ...]:
    count = settings.config.replicas if service.replicable else 1
    ports = tuple(_published(service, settings))
    if count == 1:
        return (Replica(container_name(settings.stack, service.name), ports),)
    # A host port has one holder: the first replica answers on loopback, the load balancer reaches them all.
    return tuple(
        Replica(container_name(settings.stack, service.name, number), ports if number == 1 else ())
        for number in range(1, count + 1)
    )


def _published(service: Service, settings: StackSettings) -> Iterator[PublishedPort]:
    offset = settings.config.port_offset
    if service.name == "nginx":
        ip = ALL_INTERFACES if settings.config.environment == "production" else LOOPBACK
        yield PublishedPort(ip, settings.config.public_port + offset, service.port)
        return
    # Sorted, since the provider reads ports back sorted and replaces the container on any other order.
    for port in sorted(service.ports, key=lambda port: port.container):
        if port.published is not None:
            yield PublishedPort(LOOPBACK, port.published + offset, port.container)


def _environment(service: Service, settings: StackSettings) -> dict[str, str]:
    match service.name:
        case "promptcraft":
            return {
                "ENABLE_MONITORING": str(settings.config.monitoring).lower(),
                "ENVIRONMENT": settings.config.environment,
                "LOG_LEVEL": settings.config.log_level,
                "PROMPTCRAFT_PLAN_FILE": f"{FILES_PATH}/plan.json",
            }
        case "zen-mcp":
            return {"LOG_LEVEL": settings.config.log_level}
        case "qdrant":
            # On a read-only root, everything it writes must lie on the volume.
            return {
                "QDRANT_INIT_FILE_PATH": f"{service.data_path}/.qdrant-initialized",
                "QDRANT__STORAGE__SNAPSHOTS_PATH": f"{service.data_path}/snapshots",
                "QDRANT__TELEMETRY_DISABLED": "true",
            }
        case "grafana":
            return {
                "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_AUTH_ANONYMOUS_ENABLED": "false",
                "GF_LOG_CONSOLE_FORMAT": "json",
                "GF_LOG_MODE": "console",
                "GF_PATHS_PLUGINS": "/var/lib/grafana/plugins",
                "GF_PATHS_PROVISIONING": f"{FILES_PATH}/provisioning",
                "GF_PLUGINS_PREINSTALL_DISABLED": "true",
                "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{SECRETS_PATH}/grafana",
                "GF_SECURITY_COOKIE_SAMESITE": "strict",
                "GF_SECURITY_DISABLE_GRAVATAR": "true",
                "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
                "GF_USERS_ALLOW_SIGN_UP": "false",
            }
        case _:
            return {}


# What serves nobody without the other.
_NOT_WITHOUT = {"nginx": "promptcraft", "grafana": "prometheus"}


def _incomplete(decisions: Mapping[str, Decision], settings: StackSettings) -> Iterator[str]:
    """What is missing for something that would be declared."""
    file = f"Pulumi.{settings.stack}.yaml"
    for name, needed in _NOT_WITHOUT.items():
        if isinstance(decisions[name], Deploy) and isinstance(decisions[needed], Omit):
            yield f"{file}: services: {name} is of no use without {needed}; add {needed}, or leave {name} out"
    if isinstance(decisions["grafana"], Deploy) and "grafana" not in settings.secrets:
        yield (
            f"{file}: grafanaPassword: Grafana has no default password; set one: "
            f"pulumi config set --secret grafanaPassword --stack {settings.stack}, or GRAFANA_PASSWORD in .env; "
            "`make up` generates one"
        )


def _budget(workloads: list[Workload], deploys: list[Deploy], settings: StackSettings) -> Budget:
    return Budget(
        memory_mb=sum(workload.memory_mb * len(workload.replicas) for workload in workloads),
        limit_mb=settings.config.memory_budget_mb,
        cpu_cores=round(sum(workload.cpu_cores * len(workload.replicas) for workload in workloads), 2),
        disk_gb=round(
            sum(SERVICES[deploy.workload.service].disk_gb * len(deploy.workload.replicas) for deploy in deploys), 2
        ),
        disk_limit_gb=settings.config.disk_budget_gb,
    )


def _over_budget(
    workloads: list[Workload], deploys: list[Deploy], budget: Budget, settings: StackSettings
) -> Iterator[str]:
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
        parts = ", ".join(
            f"{deploy.workload.service} {SERVICES[deploy.workload.service].disk_gb}" for deploy in deploys
        )
        yield (
            f"{file}: diskBudgetGb: {budget.disk_limit_gb} GB is less than the {budget.disk_gb} GB estimated "
            f"({parts}); raise it or run fewer services"
        )


def _in_the_way(workloads: list[Workload], report: Report, settings: StackSettings) -> Iterator[str]:
    """Obstacles to what would be declared: each named with its holder, before anything is half-created."""
    ports = {
        str(port.external): workload.service
        for workload in workloads
        for replica in workload.replicas
        for port in replica.ports
    }
    names = {replica.name: workload.service for workload in workloads for replica in workload.replicas}
    volumes = {workload.volume: workload.service for workload in workloads if workload.volume}
    networks = {container_name(settings.stack, "network"): "network"}
    taken: Mapping[str, Mapping[str, str]] = {
        "port": ports,
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
