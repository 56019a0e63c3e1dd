"""Whether and how the stack's containers reach what was found: as it is, on a network, or by a relay. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from catalog import FINDABLE, SERVICES, relay_name, relay_port
from discovery.report import PROVED, Finding, NamedBy, Report, Vantage, Verdict
from planning.plan import EntryHeaders, Relay, Reuse
from planning.workloads import relay_workload
from settings import StackSettings


def is_always_own(name: str) -> bool:
    """Whether the service is this stack's own, whoever else runs one."""
    return name in SERVICES and SERVICES[name].always_own


def usable(name: str, report: Report, settings: StackSettings) -> Finding | None:
    """The best verified finding that the stack's containers can reach."""
    service = report.services.get(name)
    if service is None or service.selected is None or is_always_own(name):
        return None
    others = () if name in settings.config.pin else service.findings
    verified = (finding for finding in (service.selected, *others) if finding.verdict is Verdict.VERIFIED)
    return next(
        (finding for finding in verified if finding.reach.from_containers or relayable(finding, settings)), None
    )


# What a relay can carry: a certificate would name the host that the relay stands in for, not the relay.
_RELAYED_SCHEMES = ("http", "redis")


def relayable(finding: Finding, settings: StackSettings) -> bool:
    """Whether a relay on the engine's host leads to it. The containers of a swarm may run on any other."""
    return (
        finding.reach.vantage is Vantage.HOST_LOOPBACK
        and urlsplit(finding.candidate.endpoint).scheme in _RELAYED_SCHEMES
        and settings.config.engine == "docker"
    )


def used(name: str, finding: Finding, settings: StackSettings) -> Reuse | Relay:
    """The finding as the stack's containers will reach it."""
    endpoint, source = finding.candidate.endpoint, finding.candidate.source.value
    evidence = finding.candidate.evidence
    reason = f"{evidence}{PROVED}{title_of(name, finding)}"
    named = finding.candidate.named_by is NamedBy.OPERATOR
    names = finding.candidate.header_names
    headers = EntryHeaders(names, finding.candidate.key) if names else None
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
            evidence=evidence,
            version=finding.version,
            holds=finding.holds,
            named=named,
            headers=headers,
            answer_seconds=finding.candidate.answer_seconds,
        )
    return Reuse(
        endpoint=_where_it_answered(finding.reach.endpoint or endpoint, finding.path),
        host_endpoint=endpoint,
        source=source,
        reason=reason,
        evidence=evidence,
        network=finding.reach.network if finding.reach.vantage is Vantage.CONTAINER_NETWORK else None,
        network_id=finding.reach.network_id,
        version=finding.version,
        holds=finding.holds,
        named=named,
        headers=headers,
        answer_seconds=finding.candidate.answer_seconds,
    )


def title_of(name: str, finding: Finding) -> str:
    """What the finding is: the program that it proved to be where several speak its protocol, or else its service."""
    if finding.title:
        return f"{finding.title} {finding.version}" if finding.version else finding.title
    return FINDABLE[name].title if name in FINDABLE else "an MCP server"


def _where_it_answered(endpoint: str, path: str | None) -> str:
    """The endpoint with the path at which its MCP server proved itself; a server's usual `/mcp` stays unsaid."""
    parts = urlsplit(endpoint)
    if path is None or path == parts.path:
        return endpoint
    is_usual = path == "/mcp" and parts.path in ("", "/")
    return parts._replace(path="" if is_usual else path).geturl()


def turned_down(name: str, report: Report) -> str | None:
    """Why a verified candidate is not used after all; None where there was none."""
    service = report.services.get(name)
    if service is None or service.selected is None or is_always_own(name):
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
