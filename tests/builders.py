"""Plain values for tests: settings, findings and reports, with only what a test cares about spelled out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from discovery.report import (
    Candidate,
    Finding,
    NamedBy,
    Obstacle,
    Ownership,
    Reach,
    Remembered,
    Report,
    ServiceReport,
    Source,
    Vantage,
    Verdict,
)
from settings import StackSettings, load_settings

ROOT = Path(__file__).resolve().parent.parent
OWNER = "0123456789abcdef"


def settings_of(stack: str, environment: Mapping[str, str] | None = None, **config: object) -> StackSettings:
    """The settings of a committed stack, with some configuration keys (snake case) replaced."""
    settings = load_settings(ROOT, stack, environment or {})
    return replace(settings, config=settings.config.model_copy(update=config))


def finding(
    service: str,
    verdict: Verdict = Verdict.VERIFIED,
    *,
    source: Source = Source.EXTERNAL,
    endpoint: str | None = None,
    evidence: str = "the environment",
    reach: Reach | None = None,
    ownership: Ownership = Ownership.EXTERNAL,
    named_by: NamedBy = NamedBy.NOBODY,
) -> Finding:
    """A finding; verified and reachable from anywhere unless said otherwise."""
    return Finding(
        candidate=Candidate(
            service, source, endpoint or f"http://10.0.0.5/{service}", evidence, key=evidence, named_by=named_by
        ),
        verdict=verdict,
        reason="said so",
        reach=reach or Reach(Vantage.ANYWHERE),
        ownership=ownership,
    )


def report_of(
    findings: Iterable[Finding] = (),
    *,
    obstacles: tuple[Obstacle, ...] = (),
    previous: Mapping[str, Mapping[str, str | None]] | None = None,
    data_writers: Mapping[str, str] | None = None,
) -> Report:
    """A report whose selected findings are the first verified ones, in the order given."""
    services: dict[str, ServiceReport] = {}
    for found in findings:
        name = found.candidate.service
        before = services.get(name, ServiceReport(None, ()))
        selected = before.selected or (found if found.verdict is Verdict.VERIFIED else None)
        services[name] = ServiceReport(selected, (*before.findings, found))
    return Report(
        "dev",
        1.0,
        services,
        obstacles=obstacles,
        previous={name: Remembered.from_texts(texts) for name, texts in (previous or {}).items()},
        data_writers=data_writers or {},
        owner=OWNER,
    )
