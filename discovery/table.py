"""The report as people read it: what was chosen and why, what was turned down and why, agents, warnings."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from catalog import MODELS
from discovery.config import (
    AGENT_TIERS,
    BUNDLED,
    CLAUDE_PLUGIN,
    CLAUDE_PROJECT,
    MANAGED,
    PROJECT_CORE,
    PROJECT_SPECIFIC,
    REPOSITORY_TIERS,
    USER,
)
from discovery.report import AgentReport, Finding, Report, Verdict

_STYLES = {
    Verdict.VERIFIED: "green",
    Verdict.OWNED: "cyan",
    Verdict.IMPOSTOR: "bold red",
    Verdict.UNREACHABLE: "dim",
    Verdict.UNHEALTHY: "yellow",
    Verdict.AUTH_REQUIRED: "yellow",
    Verdict.SKIPPED: "dim",
}


# Who writes there, and the place among the five of Claude Code (code.claude.com/docs/en/sub-agents, 2026-11-28).
_TIERS = {
    MANAGED: ("this machine's administrator", "1st of 5"),
    USER: ("you", "4th of 5"),
    PROJECT_CORE: ("whoever pushed last", "not known"),
    PROJECT_SPECIFIC: ("whoever pushed last", "not known"),
    CLAUDE_PROJECT: ("whoever pushed last", "3rd of 5"),
    CLAUDE_PLUGIN: ("the authors of plugins that you switched on", "5th of 5"),
    BUNDLED: ("whoever pushed last", "not known"),
}


def print_report(report: Report, console: Console) -> None:
    """Everything, in four parts; parts with nothing in them are left out."""
    console.print(_services(report))
    rejected = [(name, finding) for name, finding in _rejected(report) if not _is_nobody_home(finding)]
    if rejected:
        console.print(_findings("Turned down", rejected))
    if silent := sum(_is_nobody_home(finding) for _, finding in _rejected(report)):
        console.print(Text(f"{silent} more with nobody home; --explain SERVICE or --json lists them", "dim"))
    if report.agents:
        console.print(_agents(report))
        if pushed := sum(
            agent.selected is not None and agent.selected.tier in REPOSITORY_TIERS for agent in report.agents.values()
        ):
            console.print(
                Text(f"{pushed} of these agents come with the repository: whoever pushed last wrote them", "dim")
            )
    for line in report.warnings:
        # Never broken: a warning can hold a command to copy.
        console.print(Text(f"warning: {line}", "yellow"), soft_wrap=True)
    for obstacle in report.obstacles:
        console.print(Text(f"in the way: {obstacle.kind} {obstacle.name} is held by {obstacle.holder}", "yellow"))


def explain(report: Report, service: str, console: Console) -> None:
    """All that is known of one service, or of one agent, nothing left out."""
    if service not in report.services:
        _explain_agent(service, report.agents[service], console)
        return
    found = report.services[service]
    chosen = found.selected
    what = f"{chosen.candidate.endpoint} ({chosen.candidate.source})" if chosen else "nothing"
    console.print(Text.assemble((service, "bold"), f" uses {what}"))
    if chosen is not None:
        inside = f", as {chosen.reach.endpoint}" if chosen.reach.endpoint else ""
        network = f" {chosen.reach.network}" if chosen.reach.network else ""
        console.print(Text(f"reachable from: {chosen.reach.vantage}{network}{inside}"))
    console.print(_findings("Candidates, in order of priority", [(service, finding) for finding in found.findings]))
    for finding in found.findings:
        if finding.candidate.awaits_approval:
            # Once more outside of the table, which may break the command that is to be copied.
            console.print(Text(finding.reason, "yellow"), soft_wrap=True)


def explain_agents(report: Report, console: Console) -> None:
    """The tiers of agents in their order, who writes there, and how many agents of each win."""
    table = _table("Tiers of agents, the first to win", "tier", "agents")
    for heading in ("written by", "in Claude Code"):
        table.add_column(heading, overflow="fold")
    for tier in AGENT_TIERS:
        won = sum(agent.selected is not None and agent.selected.tier == tier for agent in report.agents.values())
        table.add_row(tier, str(won), *_TIERS[tier])
    console.print(table)
    console.print(_agents(report))


def _explain_agent(name: str, agent: AgentReport, console: Console) -> None:
    chosen = agent.selected
    what = f"{chosen.path} ({chosen.tier})" if chosen else "no definition"
    title = f", called {chosen.title!r}" if chosen and chosen.title and chosen.title != name else ""
    console.print(Text.assemble(("agent ", ""), (name, "bold"), f"{title} uses {what}"), soft_wrap=True)
    if chosen is not None:
        if chosen.tier in REPOSITORY_TIERS:
            line = "whoever pushed last to this repository wrote it: read it before you let it use tools"
            console.print(Text(line, "yellow"), soft_wrap=True)
        console.print(Text(f"model: {chosen.model or 'not said'}"))
        for note in chosen.notes:
            console.print(Text(f"note: {note}"), soft_wrap=True)
    table = _table("Definitions, in order of priority", "tier", "verdict")
    for heading in ("file", "reason"):
        table.add_column(heading, overflow="fold")
    if chosen is not None:
        table.add_row(chosen.tier, "wins", Text(chosen.path), "it comes first in the order of the tiers")
    for one in agent.shadowed:
        reason = one.problem or (f"{chosen.path} comes before it" if chosen else "")
        table.add_row(one.tier, "left out" if one.problem else "shadowed", Text(one.path), Text(reason))
    console.print(table)
    if agent.dependencies:
        console.print(Text(f"needs {_dependencies(agent)}"), soft_wrap=True)


def _rejected(report: Report) -> Iterator[tuple[str, Finding]]:
    for name, service in report.services.items():
        yield from ((name, finding) for finding in service.findings if finding != service.selected)


def _is_nobody_home(finding: Finding) -> bool:
    """A well-known port where nobody listens: true on every machine, and of no interest to anybody."""
    return finding.verdict is Verdict.UNREACHABLE and finding.candidate.is_guess


def _services(report: Report) -> Table:
    table = _table(f"Stack {report.stack}, looked at in {report.duration_ms:.0f} ms", "service", "choice", "source")
    for heading in ("endpoint", "version", "why"):
        table.add_column(heading, overflow="fold")
    for name, service in report.services.items():
        chosen = service.selected
        if chosen is not None:
            candidate = chosen.candidate
            why = Text(f"{candidate.evidence}: {chosen.reason}")
            row = (name, "reuse", candidate.source.value, Text(candidate.endpoint), chosen.version or "", why)
            table.add_row(*row, style=_STYLES[Verdict.VERIFIED])
        elif name != MODELS.name and any(finding.verdict is Verdict.OWNED for finding in service.findings):
            table.add_row(name, "ours", "", "", "", "runs in this stack", style=_STYLES[Verdict.OWNED])
        else:
            table.add_row(name, "none", "", "", "", "nothing was verified")
    return table


def _findings(title: str, rows: list[tuple[str, Finding]]) -> Table:
    table = _table(title, "service", "verdict")
    for heading in ("endpoint", "seen in", "reason"):
        table.add_column(heading, overflow="fold")
    table.add_column("ms", justify="right")
    for name, finding in rows:
        candidate = finding.candidate
        table.add_row(
            name,
            Text(finding.verdict.value, _STYLES[finding.verdict]),
            Text(candidate.endpoint),
            Text(f"{candidate.source}: {candidate.evidence}"),
            Text(finding.reason),
            f"{finding.elapsed_ms:.0f}",
        )
    return table


def _agents(report: Report) -> Table:
    table = _table("Agents", "agent", "tier")
    for heading in ("file", "dependencies", "shadows"):
        table.add_column(heading, overflow="fold")
    for name, agent in report.agents.items():
        tier = agent.selected.tier if agent.selected else "none usable"
        path = agent.selected.path if agent.selected else ""
        table.add_row(name, tier, Text(path), Text(_dependencies(agent)), Text(_shadowed(agent)))
    return table


def _dependencies(agent: AgentReport) -> str:
    return ", ".join(f"{name}: {endpoint or 'missing'}" for name, endpoint in agent.dependencies.items())


def _shadowed(agent: AgentReport) -> str:
    return ", ".join(
        f"{definition.path} ({definition.problem})" if definition.problem else definition.path
        for definition in agent.shadowed
    )


def _table(title: str, *whole: str) -> Table:
    """A table whose first columns, `whole`, are never broken over two lines."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for heading in whole:
        table.add_column(heading, no_wrap=True)
    return table
