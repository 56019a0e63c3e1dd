"""No silent change of source: what differs from the last deployment, and what of it needs a person's word. Pure.

Who uses a service leaves data there. An empty one in its place looks well and has forgotten everything, so the plan
is refused until a pin says that this is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from catalog import SERVICES
from discovery.report import DEPLOYED, Finding, Remembered, Report, Verdict
from planning.plan import Decision, Deploy, Relay, Reuse, remembered

# What a service in use can turn into while somebody is still there (law 4 of docs/architecture.md).
_BROKEN = (Verdict.AUTH_REQUIRED, Verdict.IMPOSTOR)


def refusal(name: str, choice: Reuse | Relay | None, report: Report, *, named: bool) -> str | None:
    """Why what was used before can't be given up for `choice` without a pin, and what to do; None where it can.

    What is only ever found keeps nothing for its users.

    `choice` is None for this stack's own; `named` says that the operator wrote its address down.
    """
    before = report.previous.get(name)
    if before is None or not before.is_anothers or name not in SERVICES:
        return None
    now = remembered(choice) if choice else Remembered()
    if choice is not None and now.place == before.place:
        return _lost_data(name, before, choice, report)
    former = _former(name, before, report)
    broken = former is not None and former.verdict in _BROKEN and not named
    if not broken and (not _keeps_data(name) or (choice is not None and _has_the_data(before, now, named=named))):
        return None
    instead, value = (choice.host_endpoint, choice.host_endpoint) if choice else ("this stack's own", DEPLOYED)
    without = ", which does not have its data" if _keeps_data(name) else ""
    return (
        f"{name}: {_described(before)} is in use, but {_absence(before, former)}; "
        f"mend that, or accept {instead}{without}: {_pin(name, value, report)}"
    )


def data_takeovers(decisions: Mapping[str, Decision], report: Report, pins: Mapping[str, str]) -> Iterator[str]:
    """Why a real service can't come over a stand-in's data, or the reverse, without a pin; and what to do."""
    for name, decision in decisions.items():
        if pins.get(name) != DEPLOYED and (takeover := _data_takeover(name, decision, report)):
            yield (
                f"{name}: its data (volume {takeover.volume}) was written by {takeover.wrote}, and {takeover.takes} "
                f"would take it over, which cannot read it; keep a copy first: make backup STACK={report.stack}; "
                f"then accept an empty {name}: {_pin(name, DEPLOYED, report)}"
            )


def announcements(decisions: Mapping[str, Decision], report: Report) -> Iterator[str]:
    """One line for each service that is not what it was at the last deployment."""
    for name, decision in decisions.items():
        if takeover := _data_takeover(name, decision, report):
            yield (
                f"{name}: {takeover.takes} takes over from {takeover.wrote}, whose data stays in volume "
                f"{takeover.volume}, unread"
            )
        before = report.previous.get(name)
        if before is None:
            continue
        now = remembered(decision)
        if now.place != before.place:
            given_up = before.is_anothers and now.source == DEPLOYED
            why = _absence(before, _former(name, before, report)) if given_up else now.reason
            yield f"{name}: was {_described(before)}, will be {_described(now)}: {why}"
            continue
        if before.version and now.version not in (None, before.version):
            yield f"{name}: {_described(now)} runs version {now.version} now, was {before.version}"
        if now.holds is not None and (gone := {*(before.holds or ())} - {*now.holds}):
            yield f"{name}: {_described(now)} no longer holds {', '.join(sorted(gone))}"


@dataclass(frozen=True)
class _Takeover:
    """A data volume, what wrote it, and what of the other kind takes it over."""

    volume: str
    wrote: str
    takes: str


def _data_takeover(name: str, decision: Decision, report: Report) -> _Takeover | None:
    """None where nothing of the other kind takes it over."""
    writer = report.data_writers.get(name)
    if writer is None or not isinstance(decision, Deploy) or not _keeps_data(name):
        return None
    image = decision.workload.image
    if bool(writer) == bool(image.stand_in):
        return None
    wrote, takes = (
        f"a stand-in ({words})" if words else f"the real {SERVICES[name].title}" for words in (writer, image.stand_in)
    )
    return _Takeover(str(decision.workload.volume), wrote, f"{takes}, {image.reference},")


def _lost_data(name: str, before: Remembered, choice: Reuse | Relay, report: Report) -> str | None:
    now = remembered(choice)
    held = {*(before.holds or ())}
    if not held or now.holds is None or not held.isdisjoint(now.holds):
        return None
    return (
        f"{name}: {_described(now)} has lost its data, or is another than it was: it no longer holds "
        f"{', '.join(sorted(held))}; restore that, or accept it as it is: {_pin(name, choice.host_endpoint, report)}"
    )


def _has_the_data(before: Remembered, now: Remembered, *, named: bool) -> bool:
    """Whether what serves now may be what served before: by what it holds, else by the operator's word."""
    if before.holds and now.holds is not None:
        return not {*before.holds}.isdisjoint(now.holds)
    return named


def _keeps_data(name: str) -> bool:
    service = SERVICES.get(name)
    return service is not None and service.data_path is not None and not service.is_cache


def _former(name: str, before: Remembered, report: Report) -> Finding | None:
    """What became of what was used before: the candidate at its endpoint, or with the same evidence."""
    service = report.services.get(name)
    for finding in service.findings if service else ():
        candidate = finding.candidate
        same_place = before.endpoint in (candidate.endpoint, finding.reach.endpoint)
        same_evidence = before.evidence == candidate.evidence
        if (same_place or same_evidence) and finding.verdict is not Verdict.VERIFIED:
            return finding
    return None


def _absence(before: Remembered, former: Finding | None) -> str:
    if former is None:
        return f"{before.evidence or 'it'} is not found any more"
    return f"{former.candidate.evidence} is {former.verdict.value}: {former.reason}"


def _described(summary: Remembered) -> str:
    return f"{summary.source} {summary.endpoint or ''}".strip()


def _pin(name: str, value: str, report: Report) -> str:
    return f"pulumi config set --stack {report.stack} --path 'pin.{name}' {value}"
