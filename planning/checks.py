"""What stands against a plan: what is missing, too much, taken or in the way. Each problem is one line. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from catalog import LAST_PORT, SERVICES, container_name
from discovery.report import Report
from planning.plan import Budget, Decision, Deploy, Omit, Relay, Workload
from settings import StackSettings


def problems_of(
    decisions: Mapping[str, Decision],
    workloads: Sequence[Workload],
    budget: Budget,
    report: Report,
    settings: StackSettings,
) -> Iterator[str]:
    """Every reason why `decisions`, with all their `workloads`, can't be declared."""
    relayed = {str(decision.port): name for name, decision in decisions.items() if isinstance(decision, Relay)}
    yield from _over_budget(workloads, budget, settings)
    yield from _ports_twice(workloads, settings)
    yield from _ports_beyond(workloads, relayed, settings)
    yield from _in_the_way(workloads, relayed, report, settings)
    yield from _incomplete(decisions, settings)
    if settings.config.engine == "swarm":
        yield f"Pulumi.{settings.stack}.yaml: engine: 'swarm' is not supported yet; use 'docker'"


def _incomplete(decisions: Mapping[str, Decision], settings: StackSettings) -> Iterator[str]:
    """What is missing for something that would be declared."""
    file = f"Pulumi.{settings.stack}.yaml"
    for name, service in SERVICES.items():
        needed = service.of_no_use_without
        if needed and isinstance(decisions[name], Deploy) and isinstance(decisions[needed], Omit):
            yield f"{file}: services: {name} is of no use without {needed}; add {needed}, or leave {name} out"
    if settings.tls is not None and not isinstance(decisions["nginx"], Deploy):
        yield f"{file}: tlsCertificate: there is no load balancer to show it; set loadBalancer to true, or remove it"
    oauth = settings.config.oauth
    if oauth is not None and settings.config.environment == "production" and not oauth.issuer.startswith("https:"):
        yield (
            f"{file}: oauth.issuer: {oauth.issuer!r}: whoever is between could give out keys of their own; "
            "in production use an issuer with https"
        )
    if isinstance(decisions["grafana"], Deploy) and "grafana" not in settings.secrets:
        yield (
            f"{file}: grafanaPassword: Grafana has no default password; set one: "
            f"pulumi config set --secret grafanaPassword --stack {settings.stack}, or GRAFANA_PASSWORD in .env; "
            "`make up` generates one"
        )


def useless(decisions: Mapping[str, Decision], settings: StackSettings) -> Iterator[str]:
    """What would run and refuse everybody."""
    if settings.config.environment != "production" or settings.config.oauth is not None:
        return
    if isinstance(decisions["promptcraft"], Deploy) and "gatewayTokens" not in settings.secrets:
        yield (
            "promptcraft: in production agents run only with bearer tokens, and none is set; set some: "
            f"pulumi config set --secret gatewayTokens --stack {settings.stack}, or GATEWAY_TOKENS in .env; "
            "`make up` generates one"
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
