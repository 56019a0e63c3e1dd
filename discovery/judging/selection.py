"""Which of the findings is used: the first verified one in the service's order of priority. Pure.

Arrival decides nothing: findings are put in one order (priority, trust in the probe, evidence, endpoint) first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from discovery.report import DEFAULT_PRIORITY, DEPLOYED, Finding, NamedBy, Ownership, ServiceReport, Source, Verdict
from errors import ConfigError
from reading.text import one_line

_MAX_LISTED = 3


class PinError(ConfigError):
    """A pin that cannot be honoured; the text lists what stands in its way."""


@dataclass(frozen=True)
class Ranked:
    """A finding and the place of its probe in the order of trust, 0 for the most trusted.

    `user` is another person of this machine to whom it belongs, "" where there is none.
    """

    finding: Finding
    rank: int
    user: str = ""


@dataclass(frozen=True)
class Pin:
    """What a service is pinned to: a source, an endpoint in its normal form, or with neither the stack's own.

    `text` is as it was written.
    """

    text: str
    source: Source | None = None
    endpoint: str | None = None

    def allows(self, finding: Finding) -> bool:
        """Whether the finding is what the pin asks for."""
        candidate = finding.candidate
        return candidate.source is self.source if self.source else candidate.endpoint == self.endpoint


def choose(
    ranked: Collection[Ranked], order: Sequence[Source] | None, pin: Pin | None = None, *, only_named: bool = False
) -> ServiceReport:
    """The report of one service; `order` is its own `priority_order`, None for the default.

    What proved itself but was named by nobody is offered, and not taken, if another person of this machine runs it;
    with `only_named` whoever does.
    """
    priority = tuple(order or DEFAULT_PRIORITY)
    ordered = sorted(ranked, key=lambda item: _key(item, priority))
    findings = [_as_named(item, pin, only_named=only_named) for item in ordered]
    eligible = [
        finding
        for finding in findings
        if finding.verdict is Verdict.VERIFIED
        and finding.candidate.source in priority
        and (pin is None or pin.allows(finding))
    ]
    selected = eligible[0] if eligible else None
    return ServiceReport(selected, tuple(_explained(finding, selected, priority, pin) for finding in findings))


def require_pins(pins: Mapping[str, Pin], services: Mapping[str, ServiceReport], file: str) -> None:
    """Raise `PinError` for every pinned service that has nothing selected, with what was found instead."""
    problems = [
        _problem(name, pin, services[name], file) for name, pin in sorted(pins.items()) if _unmet(services, name, pin)
    ]
    if problems:
        raise PinError("\n".join(problems))


def _may_be_taken(finding: Finding, pin: Pin | None) -> bool:
    """Whether somebody named the finding, or it is nothing that could be taken anyway.

    Any user of this machine can open a port; containers belong to who rules the engine, so a pin to that source does.
    """
    shared = finding.ownership is Ownership.FOREIGN_CLAIM  # verified, so `share` lets it
    pinned = pin is not None and pin.allows(finding) and (pin.endpoint is not None or pin.source is Source.DOCKER)
    named = finding.candidate.named_by is not NamedBy.NOBODY
    return finding.verdict is not Verdict.VERIFIED or named or pinned or shared


def _as_named(item: Ranked, pin: Pin | None, *, only_named: bool) -> Finding:
    finding, whose = item.finding, f"it belongs to user {one_line(item.user, 32)} of this machine"
    if finding.verdict is not Verdict.VERIFIED or not (only_named or item.user):
        return finding
    if _may_be_taken(finding, pin):
        return replace(finding, reason=one_line(f"{finding.reason}; {whose}")) if item.user else finding
    return _offered(finding, whose if item.user else "production takes only what is named")


def _offered(finding: Finding, why: str) -> Finding:
    candidate = finding.candidate
    how = f"to take it, pin.{candidate.service}: {candidate.endpoint}"
    reason = one_line(f"nobody named it, and {why}; {how}")
    return replace(finding, verdict=Verdict.SKIPPED, reason=reason, offered=True)


def _unmet(services: Mapping[str, ServiceReport], name: str, pin: Pin) -> bool:
    return services[name].selected is None and pin.text != DEPLOYED


def _key(item: Ranked, priority: tuple[Source, ...]) -> tuple[int | str, ...]:
    candidate = item.finding.candidate
    # Sources that the own order leaves out come last, in the default order.
    place = (*priority, *DEFAULT_PRIORITY).index(candidate.source)
    return place, item.rank, candidate.evidence, candidate.endpoint, item.finding.verdict, item.finding.reason


def _explained(finding: Finding, selected: Finding | None, priority: tuple[Source, ...], pin: Pin | None) -> Finding:
    """A verified finding that was not taken says why; all others already do."""
    if finding.verdict is not Verdict.VERIFIED or finding is selected:
        return finding
    if finding.candidate.source not in priority:
        why = f"{finding.candidate.source} is not in this server's priority_order"
    elif pin is not None and not pin.allows(finding):
        why = f"the pin asks for {pin.text}"
    else:
        winner = selected.candidate if selected else finding.candidate
        why = f"{winner.endpoint} is preferred ({winner.source}: {winner.evidence})"
    return replace(finding, reason=one_line(f"{finding.reason}; {why}"))


def _problem(name: str, pin: Pin, service: ServiceReport, file: str) -> str:
    matching = [finding for finding in service.findings if pin.allows(finding)]
    listed = "; ".join(
        f"{finding.candidate.endpoint or finding.candidate.evidence} is {finding.verdict} ({finding.reason})"
        for finding in matching[:_MAX_LISTED]
    )
    more = len(matching) - _MAX_LISTED
    found = f"{listed}; and {more} more" if more > 0 else listed or "nothing of that kind was found"
    return f"{file}: pin.{name}: {one_line(pin.text, 80)} cannot be honoured: {found}; mend it or remove the pin"
