"""What one run of `python -m discovery` came to, and the promises that hold for every run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SOURCES = {"external_deployment", "user_installation", "project_configuration", "docker_service", "npx_cloud"}
VERDICTS = {"verified", "impostor", "unreachable", "unhealthy", "auth_required", "owned", "skipped"}
CATALOG = {"promptcraft", "redis", "qdrant", "zen-mcp", "nginx", "prometheus", "grafana", "models"}
_ENDPOINT = re.compile(r"(https?|rediss?)://[^\s/@]+[^\s@]*|npx:\S+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_PROBLEM = re.compile(r"^([^\n]+?:\d+|environment: \w+): [^\n]+?: [^\n]+; [^\n]+$")

LOOPBACK_V4 = frozenset({"127.0.0.1", "localhost"})
LOOPBACK = LOOPBACK_V4 | {"::1"}


@dataclass(frozen=True)
class Outcome:
    """Exit code, texts, wall-clock seconds and peak memory of one run."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    peak_mib: float
    budget: float

    @property
    def report(self) -> dict[str, Any]:
        """The report; fails where there is none."""
        assert self.exit_code == 0, f"exit {self.exit_code}, expected a report; stderr:\n{self.stderr}"
        document = json.loads(self.stdout)
        assert isinstance(document, dict)
        return document

    def service(self, name: str) -> dict[str, Any]:
        """One service's part of the report."""
        services = self.report["services"]
        assert name in services, f"no {name} among {sorted(services)}"
        part: dict[str, Any] = services[name]
        return part

    def candidates(self, service: str) -> list[dict[str, Any]]:
        """All that was considered for a service."""
        found: list[dict[str, Any]] = self.service(service)["candidates"]
        return found

    def lines(self) -> Iterator[str]:
        """Every text of the report that a person will read as one line."""
        yield from self.report["warnings"]
        for part in self.report["services"].values():
            for candidate in part["candidates"]:
                yield candidate["reason"]
                yield candidate["evidence"]
                yield candidate["endpoint"]
                yield candidate.get("version") or ""
        for name, agent in self.report["agents"].items():
            yield name
            for definition in [agent["selected"], *agent["shadowed"]]:
                if isinstance(definition, dict):
                    yield definition.get("problem") or ""


def leads_to(endpoint: str, port: int, hosts: frozenset[str] = LOOPBACK) -> bool:
    """Whether a URL leads to that port of one of those hosts."""
    parts = urlsplit(endpoint)
    standard = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}.get(parts.scheme)
    return (parts.hostname or "") in hosts and (parts.port or standard) == port


def check_promises(outcome: Outcome, secrets: list[str]) -> None:
    """What docs/interface.md promises of any run, whatever the machine's state."""
    printed = outcome.stdout + outcome.stderr
    for secret in secrets:
        assert secret not in printed, "a secret was printed"
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert outcome.exit_code in (0, 2), f"exit {outcome.exit_code}\n{outcome.stderr}"
    assert not _CONTROL.search(outcome.stderr.replace("\n", "")), f"control characters: {outcome.stderr!r}"
    if outcome.exit_code == 2:
        assert outcome.stdout == ""
        assert outcome.stderr.strip(), "exit 2 without a word"
        for line in outcome.stderr.strip().splitlines():
            assert _PROBLEM.match(line), f"not `file:line: key: what is wrong; what to do`: {line!r}"
        return
    _check_shape(outcome)
    for line in outcome.lines():
        assert len(line) <= 200, f"{len(line)} characters: {line!r}"
        assert not _CONTROL.search(line), f"control characters: {line!r}"
    # `make bench` holds it to half a second on a quiet machine; here other tests share the cores.
    assert outcome.report["duration_ms"] <= (outcome.budget + 2) * 1000, f"took {outcome.report['duration_ms']} ms"


def _check_shape(outcome: Outcome) -> None:
    report = outcome.report
    assert report["schema_version"] == 1
    assert set(report["services"]) >= CATALOG
    assert isinstance(report["stack"], str)
    assert isinstance(report["warnings"], list)
    for name, part in report["services"].items():
        for candidate in part["candidates"]:
            assert candidate["source"] in SOURCES, candidate
            assert candidate["verdict"] in VERDICTS, candidate
            assert candidate["reason"], f"no reason: {candidate}"
            assert isinstance(candidate["elapsed_ms"], int | float)
            # A candidate that was not asked may name what could not be an endpoint; it says so in its reason.
            if candidate["verdict"] != "skipped":
                assert _ENDPOINT.fullmatch(candidate["endpoint"]), candidate["endpoint"]
        _check_selected(name, part["selected"], part["candidates"])


def _check_selected(name: str, selected: Mapping[str, Any] | None, candidates: list[dict[str, Any]]) -> None:
    verified = [c for c in candidates if c["verdict"] == "verified"]
    if selected is None:
        return
    assert _ENDPOINT.fullmatch(selected["endpoint"]), selected["endpoint"]
    place = (selected["source"], selected["endpoint"])
    assert place in {(c["source"], c["endpoint"]) for c in verified}, f"{name}: selected {place} was never verified"
