"""What is chosen: verified only, in one order, whatever came first; and what a pin asks for, or nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.judging.selection import Pin, PinError, Ranked, choose, require_pins
from discovery.report import DEFAULT_PRIORITY, Candidate, Finding, ServiceReport, Source, Verdict
from tests.unit.asking import MANY


def ranked(source: Source, endpoint: str, verdict: Verdict = Verdict.VERIFIED, rank: int = 0) -> Ranked:
    return Ranked(Finding(Candidate("qdrant", source, endpoint, f"seen at {endpoint}"), verdict, "Qdrant 1.12.4"), rank)


EXTERNAL = ranked(Source.EXTERNAL, "http://10.0.0.1:6333")
DOCKER = ranked(Source.DOCKER, "http://127.0.0.1:6333", rank=6)
USER = ranked(Source.USER, "http://10.0.0.2:6333", rank=1)


def chosen(service: ServiceReport) -> str | None:
    return service.selected.candidate.endpoint if service.selected else None


def test_first_source_wins() -> None:
    assert chosen(choose([DOCKER, USER, EXTERNAL], None)) == "http://10.0.0.1:6333"


def test_trusted_probe_wins_within_a_source() -> None:
    later = ranked(Source.EXTERNAL, "http://10.0.0.0:6333", rank=5)
    assert chosen(choose([later, EXTERNAL], None)) == "http://10.0.0.1:6333"


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.VERIFIED])
def test_only_verified_is_chosen(verdict: Verdict) -> None:
    turned_down = ranked(Source.EXTERNAL, "http://10.0.0.1:6333", verdict)
    assert chosen(choose([turned_down], None)) is None
    assert chosen(choose([turned_down, DOCKER], None)) == "http://127.0.0.1:6333"


def test_own_order_replaces_the_default() -> None:
    assert chosen(choose([DOCKER, EXTERNAL], (Source.DOCKER, Source.EXTERNAL))) == "http://127.0.0.1:6333"


def test_source_missing_from_the_own_order_is_listed_and_not_chosen() -> None:
    service = choose([EXTERNAL], (Source.DOCKER,))
    assert chosen(service) is None
    assert "priority_order" in service.findings[0].reason


def test_loser_says_who_was_preferred() -> None:
    service = choose([DOCKER, EXTERNAL], None)
    assert service.findings[1].verdict is Verdict.VERIFIED
    assert "http://10.0.0.1:6333 is preferred" in service.findings[1].reason


def test_reason_stays_short() -> None:
    long = replace(DOCKER, finding=replace(DOCKER.finding, reason="x" * 200))
    assert all(len(finding.reason) <= 200 for finding in choose([EXTERNAL, long], None).findings)


@pytest.mark.parametrize(
    ("pin", "expected"),
    [
        (Pin("docker_service", source=Source.DOCKER), "http://127.0.0.1:6333"),
        (Pin("http://10.0.0.2:6333", endpoint="http://10.0.0.2:6333"), "http://10.0.0.2:6333"),
        (Pin("project_configuration", source=Source.PROJECT), None),
    ],
)
def test_pin_is_honoured_or_nothing_is_chosen(pin: Pin, expected: str | None) -> None:
    service = choose([EXTERNAL, USER, DOCKER], None, pin)
    assert chosen(service) == expected
    assert service.selected in (None, *service.findings)


def test_unmet_pin_is_an_error_that_says_why() -> None:
    impostor = ranked(Source.EXTERNAL, "http://10.0.0.1:6333", Verdict.IMPOSTOR)
    pin = Pin("'http://10.0.0.1:6333'", endpoint="http://10.0.0.1:6333")
    with pytest.raises(
        PinError, match=r"^Pulumi.dev.yaml:1: pin.qdrant: .* is impostor .*; mend it or remove the pin$"
    ):
        require_pins({"qdrant": pin}, {"qdrant": choose([impostor], None, pin)}, "Pulumi.dev.yaml:1")


def test_met_pin_is_no_error() -> None:
    pin = Pin("docker_service", source=Source.DOCKER)
    chosen = choose([DOCKER], None, pin)
    assert chosen.selected == DOCKER.finding
    require_pins({"qdrant": pin}, {"qdrant": chosen}, "Pulumi.dev.yaml:1")


RANKED = st.builds(
    ranked,
    st.sampled_from(list(Source)),
    st.sampled_from([f"http://10.0.0.{number}:6333" for number in range(4)]),
    st.sampled_from(list(Verdict)),
    st.integers(0, 7),
)


@MANY
@given(
    st.lists(RANKED, max_size=8),
    st.none() | st.lists(st.sampled_from(list(Source)), min_size=1, unique=True).map(tuple),
    st.randoms(use_true_random=False),
)
def test_arrival_decides_nothing(found: list[Ranked], order: tuple[Source, ...] | None, chance: random.Random) -> None:
    service = choose(found, order)
    shuffled = found[:]
    chance.shuffle(shuffled)
    assert choose(shuffled, order) == service
    if service.selected is not None:
        assert service.selected.verdict is Verdict.VERIFIED
        assert service.selected.candidate.source in (order or DEFAULT_PRIORITY)
