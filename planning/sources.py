"""What serves each service of the catalog, and what a person must hear of the choice. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog import FINDABLE, MODELS, SERVICES
from discovery.report import DEPLOYED, OMITTED, Finding, NamedBy, Ownership, Report, Verdict
from planning.changes import refusal
from planning.plan import Omit, Relay, Reuse, RunHere
from planning.reachable import is_always_own, turned_down, usable, used
from settings import StackSettings


@dataclass(frozen=True)
class Source:
    """What serves a service, the notices that say so, and the problems that stand against it."""

    choice: Reuse | Relay | RunHere | Omit
    notices: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def source_of(name: str, report: Report, settings: StackSettings) -> Source:
    """What serves the service `name`: somebody else's, this stack's own, or nobody."""
    if is_always_own(name):
        return Source(RunHere("always this stack's own"))
    finding = usable(name, report, settings)
    if name in settings.declarable:
        return _with_complaints(name, finding, report, settings)
    if name == MODELS.name and name not in settings.config.use_if_named:
        source = _with_complaints(name, finding, report, settings)
        return replace(source, choice=_not_found(name)) if isinstance(source.choice, RunHere) else source
    # Used only where somebody names it.
    named = finding if finding and _is_named(finding) else None
    before = report.previous.get(name)
    if named is None and not any(_unusable(name, report)) and (before is None or before.source in (None, OMITTED)):
        return Source(_not_named(name))
    source = _with_complaints(name, named, report, settings)
    return replace(source, choice=_not_named(name)) if isinstance(source.choice, RunHere) else source


def _not_found(name: str) -> Omit:
    return Omit(f"only ever found, and was not; start one, or set {_variable(name)} to where it runs")


def _not_named(name: str) -> Omit:
    return Omit(f"used only where it is named, and is not; set {_variable(name)} to where it runs")


def _with_complaints(name: str, finding: Finding | None, report: Report, settings: StackSettings) -> Source:
    """The source of `name`, which `finding` may be; and what of it is absent, broken, offered or given up."""
    pin = settings.config.pin.get(name)
    if pin == DEPLOYED and name not in SERVICES:
        why = f"Pulumi.{settings.stack}.yaml: pin.{name}: 'deployed' cannot be honoured: it is only ever found"
        return Source(_not_found(name), problems=(f"{why}; pin it to where it runs, or remove the pin",))
    if pin == DEPLOYED:
        return Source(RunHere("pinned to this stack's own"))
    choice = used(name, finding, settings) if finding else None
    named = finding is not None and _is_named(finding)
    refused = None if pin else refusal(name, choice, report, named=named)
    unusable = tuple(_unusable(name, report))
    # A value that is no address, and a missing key to what is needed, is an error (law 4 of docs/architecture.md).
    # Nobody's shell is set up for this stack, and many have OpenAI's variables: without a model it does run.
    needed = not named and refused is None and name in SERVICES
    errors = [found for found in unusable if _is_an_error(found, needed=needed)]
    notices = [f"{name}: {_described(found)}; not used" for found in unusable if found not in errors]
    problems = [f"{name}: {_described(found) if found.candidate.endpoint else found.reason}" for found in errors]
    problems += [refused] if refused else []
    keeps_data = name in SERVICES and SERVICES[name].data_path is not None
    if choice is not None and not pin and keeps_data and _is_ours_now(name, report):
        kept = (
            f"{name}: {choice.source} {choice.host_endpoint} is there, but this stack's own {name} holds data; kept. "
            f"To change over: pulumi config set --stack {settings.stack} --path 'pin.{name}' {choice.source}"
        )
        return Source(RunHere(_own_reason(name, settings)), (*notices, kept), tuple(problems))
    if choice is not None:
        return Source(choice, tuple(notices), tuple(problems))
    problems += _unmet(name, report, settings, refused=refused is not None)
    return Source(
        RunHere(_own_reason(name, settings)),
        (*notices, *_not_taken(name, report, settings)),
        tuple(problems),
    )


def _unmet(name: str, report: Report, settings: StackSettings, *, refused: bool) -> Iterator[str]:
    """What the stack was told to use and cannot."""
    file = f"Pulumi.{settings.stack}.yaml"
    if pin := settings.config.pin.get(name):
        yield (
            f"{file}: pin.{name}: {pin!r} cannot be honoured: "
            f"{turned_down(name, report) or 'nothing was found there'}; start it, or remove the pin"
        )
    if name in settings.config.expected_outside and not settings.config.fallback and not refused:
        found = "; ".join(_described(finding) for finding in _unusable(name, report)) or "nothing of it was found"
        yield (
            f"{file}: expectedOutside: {name}: {found}; set {_variable(name)} to where it runs, or set fallback to true"
        )


def _not_taken(name: str, report: Report, settings: StackSettings) -> Iterator[str]:
    """What is there and is not used, with what to do to use it."""
    if why := turned_down(name, report):
        yield f"{name}: {why}"
    if not _is_ours_now(name, report) and (offer := _offer(name, report)):
        yield f"{name}: {offer}"
    if unnamed := _unnamed(name, report, settings):
        yield unnamed
    if name in settings.config.expected_outside and settings.config.fallback:
        yield (
            f"{name}: expected outside but not found; declared as a fallback (set {_variable(name)} to where it runs)"
        )


def _is_an_error(unusable: Finding, *, needed: bool) -> bool:
    return not unusable.candidate.endpoint or (unusable.verdict is Verdict.AUTH_REQUIRED and needed)


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
    return next(iter(FINDABLE[name].variables), "its address")


def _is_named(finding: Finding) -> bool:
    """Whether the operator of this stack wrote the address down: as a pin, in the environment or in `.env`."""
    return finding.candidate.named_by is NamedBy.OPERATOR


def _unusable(name: str, report: Report) -> Iterator[Finding]:
    """What the operator named and what can't be used."""
    service = report.services.get(name)
    for finding in service.findings if service else ():
        if _is_named(finding) and finding.verdict not in (Verdict.VERIFIED, Verdict.OWNED):
            yield finding


def _described(unusable: Finding) -> str:
    candidate = unusable.candidate
    return f"{candidate.evidence}: {candidate.endpoint} is {unusable.verdict.value}: {unusable.reason}"


def _is_ours_now(name: str, report: Report) -> bool:
    before = report.previous.get(name)
    return before is not None and before.source == DEPLOYED
