"""The vocabulary of scenarios: what is started, and what must then be said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .outcome import LOOPBACK, LOOPBACK_V4, Outcome, leads_to
from .world import Check, World

EXTERNAL = "external_deployment"
USER = "user_installation"
PROJECT = "project_configuration"
DOCKER = "docker_service"
NPX = "npx_cloud"


@dataclass(frozen=True)
class Scenario:
    """A machine state by name: how to start it, and what must hold after the run. `budget` in seconds."""

    name: str
    start: Callable[[World], None]
    checks: tuple[Check, ...]
    stack: str = "dev"
    budget: float = 5.0
    engine: bool = False


class Table:
    """The scenarios of one file, in the order they are written."""

    def __init__(self, engine: bool = False) -> None:
        self.rows: list[Scenario] = []
        self._engine = engine

    def __call__(
        self, name: str, *checks: Check, stack: str = "dev", budget: float = 5.0
    ) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
        def add(start: Callable[[World], None]) -> Callable[[World], None]:
            self.rows.append(Scenario(name, start, checks, stack, budget, self._engine))
            return start

        return add


def selects(
    service: str,
    port: int,
    source: str | None = None,
    version: str | None = None,
    hosts: frozenset[str] = LOOPBACK,
    **other: object,
) -> Check:
    """The service's choice leads to that port, from that source."""

    def check(outcome: Outcome) -> None:
        selected = outcome.service(service)["selected"]
        shown = "\n".join(str(c) for c in outcome.candidates(service)) + "\n" + "\n".join(outcome.report["warnings"])
        assert selected is not None, f"{service}: nothing selected among\n{shown}"
        assert leads_to(selected["endpoint"], port, hosts), f"{service}: selected {selected}"
        assert source is None or selected["source"] == source, f"{service}: selected {selected}"
        assert version is None or selected.get("version") == version, f"{service}: selected {selected}"
        _check_fields(selected, other)

    return check


def selects_package(service: str, package: str) -> Check:
    """The service's choice is an npm package."""

    def check(outcome: Outcome) -> None:
        selected = outcome.service(service)["selected"]
        assert selected is not None, f"{service}: nothing selected among {outcome.candidates(service)}"
        assert (selected["source"], selected["endpoint"]) == (NPX, f"npx:{package}")

    return check


def selects_nothing(*services: str) -> Check:
    """No choice was made for any of these services."""

    def check(outcome: Outcome) -> None:
        for service in services:
            selected = outcome.service(service)["selected"]
            assert selected is None, f"{service}: selected {selected}"

    return check


def lists(
    service: str,
    port: int,
    verdict: str | tuple[str, ...],
    source: str | None = None,
    reason: str = "",
    evidence: str = "",
    hosts: frozenset[str] = LOOPBACK_V4,
    **other: object,
) -> Check:
    """At least one candidate leads to that port, and each that does (from that source) has that verdict."""
    verdicts = (verdict,) if isinstance(verdict, str) else verdict

    def check(outcome: Outcome) -> None:
        found = [
            c
            for c in outcome.candidates(service)
            if leads_to(c["endpoint"], port, hosts) and (source is None or c["source"] == source)
        ]
        assert found, f"{service}: no candidate at {port}: {outcome.candidates(service)} {outcome.report['warnings']}"
        for candidate in found:
            assert candidate["verdict"] in verdicts, candidate
            _check_fields(candidate, other)
        assert any(re.search(reason, c["reason"], re.I) for c in found), found
        assert any(re.search(evidence, c["evidence"]) for c in found), found

    return check


def lists_nothing(service: str, port: int | None = None, source: str | None = None) -> Check:
    """No candidate leads to that port, or comes from that source."""

    def check(outcome: Outcome) -> None:
        for candidate in outcome.candidates(service):
            here = port is None or leads_to(candidate["endpoint"], port)
            assert not (here and (source is None or candidate["source"] == source)), candidate

    return check


def starts_nothing(service: str) -> Check:
    """A deployment would start nothing for the service: no candidate says how."""

    def check(outcome: Outcome) -> None:
        launches = [candidate["launch"] for candidate in outcome.candidates(service)]
        assert launches == [None] * len(launches), launches

    return check


def starts(service: str, package: str, *takes: str) -> Check:
    """A deployment may start that package for the service, with something made of those variables of this machine."""

    def check(outcome: Outcome) -> None:
        launches = [candidate["launch"] for candidate in outcome.candidates(service) if candidate["launch"]]
        assert [(launch["package"], tuple(launch["takes"])) for launch in launches] == [(package, takes)], launches

    return check


def says(pattern: str) -> Check:
    """The report says it somewhere: in a reason, a piece of evidence or a warning."""

    def check(outcome: Outcome) -> None:
        assert any(re.search(pattern, line, re.I) for line in outcome.lines()), "\n".join(outcome.lines())

    return check


def says_nothing(pattern: str) -> Check:
    """No reason, piece of evidence or warning says it."""

    def check(outcome: Outcome) -> None:
        assert not [line for line in outcome.lines() if re.search(pattern, line, re.I)]

    return check


def fails(pattern: str) -> Check:
    """Bad configuration: exit 2, nothing on stdout, and that on stderr."""

    def check(outcome: Outcome) -> None:
        assert outcome.exit_code == 2, f"exit {outcome.exit_code}; {outcome.stdout[:2000]}"
        assert re.search(pattern, outcome.stderr), outcome.stderr

    return check


def refuses(service: str, variable: str) -> Check:
    """A value that must not be followed: refused as configuration, or listed as skipped; chosen never."""

    def check(outcome: Outcome) -> None:
        if outcome.exit_code == 2:
            assert variable in outcome.stderr
            return
        assert outcome.service(service)["selected"] is None, outcome.service(service)
        skipped = [c for c in outcome.candidates(service) if variable in c["evidence"] and c["verdict"] == "skipped"]
        assert skipped or any(variable in line for line in outcome.report["warnings"]), outcome.candidates(service)

    return check


def stays_below(mib: float) -> Check:
    """Peak memory of the run."""

    def check(outcome: Outcome) -> None:
        assert outcome.peak_mib <= mib, f"{outcome.peak_mib:.0f} MiB"

    return check


def ends_within(seconds: float) -> Check:
    """The look itself, by its own account; the start of the interpreter is not counted."""

    def check(outcome: Outcome) -> None:
        assert outcome.report["duration_ms"] <= seconds * 1000, outcome.report["duration_ms"]

    return check


def agent(name: str, tier: str | None, shadowed: tuple[str, ...] = ()) -> Check:
    """The agent's definition comes from that tier, over those."""

    def check(outcome: Outcome) -> None:
        agents = outcome.report["agents"]
        if tier is None:
            assert agents.get(name, {"selected": None})["selected"] is None, agents[name]
            return
        assert name in agents, f"no {name} among {sorted(agents)}; {outcome.report['warnings']}"
        assert agents[name]["selected"] is not None, agents[name]
        assert agents[name]["selected"]["tier"] == tier, agents[name]
        assert [definition["tier"] for definition in agents[name]["shadowed"]] == list(shadowed), agents[name]

    return check


def depends(name: str, service: str, port: int | None) -> Check:
    """The agent's dependency resolved to that port, or to nothing."""

    def check(outcome: Outcome) -> None:
        endpoint = outcome.report["agents"][name]["dependencies"][service]
        url = endpoint if endpoint is None or "://" in endpoint else f"//{endpoint}"
        met = url is not None and port is not None and leads_to(url, port)
        assert met or endpoint is port is None, outcome.report["agents"][name]

    return check


def _check_fields(candidate: Mapping[str, Any], expected: Mapping[str, object]) -> None:
    for name, value in expected.items():
        found: Any = candidate
        for part in name.split("__"):
            found = found[part]
        assert found == value, f"{name} is {found!r}, expected {value!r}: {candidate}"
