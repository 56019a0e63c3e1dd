"""Decide what to declare: `decide(report, settings, config) -> Plan`, pure.

Nothing here looks at the world or knows Pulumi, so the same report and settings always give the same plan, and no
reason holds anything that changes between two looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from catalog import EGRESS, FINDABLE, MODELS, RUNNER, SERVICES
from discovery.config import DiscoveryConfig
from discovery.report import AgentReport, Finding, Report
from errors import ConfigError
from planning.access import access_of, ineffective
from planning.changes import announcements, data_takeovers
from planning.checks import problems_of, useless
from planning.mcp_servers import announced, asked_for, fit_into_runner, registries, servers_of, told_headers
from planning.models import models_of
from planning.pins import pins_of
from planning.plan import (
    Budget,
    Choice,
    Decision,
    Deploy,
    HostCommand,
    Limits,
    Omit,
    Plan,
    Relay,
    Reuse,
    RunHere,
    Workload,
    remembered,
)
from planning.reachable import relayable, used
from planning.sources import source_of
from planning.workloads import deploy, edge_of, exporter_workloads
from settings import StackSettings


def decide(report: Report, settings: StackSettings, config: DiscoveryConfig) -> Plan:
    """Choose for every service of the catalog. Raises `ConfigError`, one line a problem, when the stack can't be."""
    sources = {name: source_of(name, report, settings) for name in settings.wanted}
    servers = servers_of(report, settings, config, lambda finding: relayable(finding, settings))
    others: dict[str, Reuse | Relay | HostCommand] = {
        name: used(name, found, settings) if isinstance(found, Finding) else found
        for name, found in servers.items()
        if isinstance(found, Finding | HostCommand)
    }
    chosen: dict[str, Choice] = {name: source.choice for name, source in sources.items()} | others
    decisions = {name: _decision(name, chosen, settings, config) for name in FINDABLE} | others

    exporters = tuple(exporter_workloads(decisions, settings))
    runs = [decision.workload for decision in decisions.values() if isinstance(decision, Deploy | Relay)]
    budget = _budget([*runs, *exporters], settings)
    fit = fit_into_runner(servers, asked_for(settings, config), settings, budget.spare_mb)
    decisions |= fit.decisions
    for workload in fit.workloads:
        budget = budget.with_one_more(workload)

    problems = [problem for source in sources.values() for problem in source.problems]
    problems += problems_of(decisions, [*runs, *exporters, *fit.workloads], budget, report, settings)
    models = models_of(decisions[MODELS.name], report, settings)
    problems += models.problems
    problems += data_takeovers(decisions, report, settings.config.pin)
    if problems:
        raise ConfigError("\n".join(problems))
    on_this_host = [decision for decision in decisions.values() if isinstance(decision, HostCommand)]
    pinned, loose = pins_of(decisions, report)
    notices = (
        *report.warnings,
        *(settings.tls.warnings if settings.tls else ()),
        *(notice for source in sources.values() for notice in source.notices),
        *useless(decisions, settings),
        *ineffective(decisions, report.agents, settings),
        *models.notices,
        *fit.notices,
        *announced(on_this_host),
        *loose,
        *announcements(decisions, report),
    )
    plan = Plan(
        project=settings.project,
        stack=settings.stack,
        owner=report.owner,
        decisions=decisions,
        budget=budget,
        limits=_limits(settings, config),
        agents={name: _with_services(agent, decisions, report) for name, agent in report.agents.items()},
        notices=notices,
        log_level=settings.config.log_level,
        authorities=settings.authorities,
        protect_data=settings.config.environment == "production",
        exporters=exporters,
        runner=fit.workload(RUNNER.name),
        egress=fit.workload(EGRESS.name),
        registries=registries(settings) if fit.workloads else (),
        edge=edge_of(settings),
        models=models.models,
        pinned=pinned,
        access=access_of(settings),
        oauth=settings.config.oauth,
    )
    return replace(plan, notices=(*plan.notices, *told_headers(plan.headers)))


def _decision(name: str, chosen: Mapping[str, Choice], settings: StackSettings, config: DiscoveryConfig) -> Decision:
    """What is declared for a service of the catalog, beside what was chosen for the others."""
    match chosen.get(name, Omit("not part of this stack")):
        case RunHere(reason=reason):
            return deploy(SERVICES[name], reason, settings, config, chosen)
        case (Reuse() | Relay() | HostCommand() | Omit()) as decision:
            return decision
        case unknown:
            assert_never(unknown)


def _with_services(agent: AgentReport, decisions: Mapping[str, Decision], report: Report) -> AgentReport:
    """The agent with its dependencies as the stack will have them, where it left them to discovery."""

    def resolved(name: str, endpoint: str | None) -> str | None:
        decision = decisions.get(name)
        found = report.services.get(name)
        discovered = found.selected.candidate.endpoint if found and found.selected else None
        return endpoint if decision is None or endpoint != discovered else remembered(decision).endpoint

    return replace(agent, dependencies={name: resolved(name, url) for name, url in agent.dependencies.items()})


def _budget(workloads: Sequence[Workload], settings: StackSettings) -> Budget:
    return Budget(
        memory_mb=sum(workload.memory_mb * len(workload.replicas) for workload in workloads),
        limit_mb=settings.config.memory_budget_mb,
        cpu_cores=round(sum(workload.cpu_cores * len(workload.replicas) for workload in workloads), 2),
        disk_gb=round(sum(workload.disk_gb * len(workload.replicas) for workload in workloads), 2),
        disk_limit_gb=settings.config.disk_budget_gb,
    )


def _limits(settings: StackSettings, config: DiscoveryConfig) -> Limits:
    files = config.resource_limits
    return Limits(
        max_concurrent_agents=settings.config.max_concurrent_agents or files.max_concurrent_agents,
        agent_memory_mb=settings.config.agent_memory_mb,
        mcp_memory_mb=settings.config.mcp_memory_mb,
        total_memory_mb=files.total_memory_mb,
        models={str(model): count for model, count in files.model_limits.items()},
    )
