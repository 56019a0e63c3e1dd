"""One look: within its budget whatever is out there, the same in any order, and discreet with secrets."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog import LABEL_PROJECT, LABEL_SERVICE, LABEL_STACK
from discovery.config import DiscoveryConfig
from discovery.look import look
from discovery.probes import PROBES, NamedProbe
from discovery.report import Candidate, Finding, Report, Source, Vantage, Verdict
from discovery.request import Checkpoint, Credential, Gathered, Request
from discovery.selection import PinError
from discovery.world import Attachment, Binding, Container, EngineState, Inventory, Listener, plain_address
from errors import ConfigError
from tests.unit.asking import request_in
from tests.unit.peers import Handler, pages, serving, silent
from tests.unit.test_discovery_fingerprints import QDRANT, legacy, mcp_server

ID = "a" * 64
NO_CONFIG = DiscoveryConfig()


@contextmanager
def listening(*handlers: Handler) -> Iterator[list[int]]:
    """Servers in a loop of their own, as the look has one of its own too."""
    ports: list[int] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    finish = asyncio.Event()

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            for handler in handlers:
                group.create_task(one(handler))

    async def one(handler: Handler) -> None:
        async with serving(handler) as port:
            ports.append(port)
            if len(ports) == len(handlers):
                ready.set()
            await finish.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports
    finally:
        loop.call_soon_threadsafe(finish.set)
        thread.join(10)


def found(name: str, *candidates: Candidate, **other: Any) -> NamedProbe:
    """A probe with the standing of the real one of that name, and these findings."""
    real = next(probe for probe in PROBES if probe.name == name)
    return replace(real, probe=lambda request: Gathered(candidates, **other))


def configured(endpoint: str, service: str = "qdrant") -> NamedProbe:
    return found("environment", Candidate(service, Source.EXTERNAL, endpoint, "QDRANT_HOST"))


def seen_at_port(endpoint: str, service: str = "qdrant") -> NamedProbe:
    return found("ports", Candidate(service, Source.EXTERNAL, endpoint, "port 6333"))


def engine(*containers: Container, state: EngineState = EngineState.ANSWERED) -> NamedProbe:
    return found("docker_engine", inventory=Inventory(state, containers))


def container(port: int, **labels: str) -> Container:
    return Container(
        ID,
        "vectors",
        "my/own",
        labels,
        networks={"shop": Attachment("172.30.0.2")},
        bindings=(Binding(6333, "127.0.0.1", port),),
    )


OURS = {LABEL_PROJECT: "promptcraft-hybrid", LABEL_STACK: "dev", LABEL_SERVICE: "qdrant"}


def only(report: Report, service: str = "qdrant") -> Finding:
    (finding,) = report.services[service].findings
    return finding


def test_verified_service_is_selected(tmp_path: Path) -> None:
    with listening(pages(QDRANT)) as (port,):
        report = look(request_in(tmp_path), NO_CONFIG, (configured(f"http://127.0.0.1:{port}"),))
    selected = report.services["qdrant"].selected
    assert selected is not None
    assert (selected.version, selected.reach.vantage) == ("1.12.4", Vantage.HOST_LOOPBACK)
    assert report.services["redis"].selected is None


def test_report_goes_through_json_and_back(tmp_path: Path) -> None:
    report = look(request_in(tmp_path), NO_CONFIG)
    document = json.loads(json.dumps(report.to_json()))
    assert Report.from_json(document).to_json() == document


# --- ownership ---


@pytest.mark.parametrize("probe", [configured, seen_at_port])
def test_own_container_is_owned_and_never_asked(tmp_path: Path, probe: Callable[[str], NamedProbe]) -> None:
    seen: list[str] = []
    request = replace(request_in(tmp_path), checkpoint=Checkpoint(ids=frozenset({ID})))
    with listening(pages(QDRANT, seen)) as (port,):
        report = look(request, NO_CONFIG, (probe(f"http://127.0.0.1:{port}"), engine(container(port, **OURS))))
    assert only(report).verdict is Verdict.OWNED
    assert report.services["qdrant"].selected is None
    assert seen == []


def test_forged_label_makes_nothing_ours(tmp_path: Path) -> None:
    with listening(pages(QDRANT)) as (port,):
        probes = (seen_at_port(f"http://127.0.0.1:{port}"), engine(container(port, **OURS)))
        finding = only(look(request_in(tmp_path), NO_CONFIG, probes))
    assert (finding.verdict, finding.candidate.source) == (Verdict.SKIPPED, Source.DOCKER)


@pytest.mark.parametrize(("share", "expected"), [((), Verdict.SKIPPED), (("qdrant",), Verdict.VERIFIED)])
def test_service_of_another_stack_is_shared_only_where_the_stack_says_so(
    tmp_path: Path, share: tuple[str, ...], expected: Verdict
) -> None:
    request = replace(request_in(tmp_path), share=frozenset(share))
    with listening(pages(QDRANT)) as (port,):
        other = container(port, **{**OURS, LABEL_STACK: "production"})
        report = look(request, NO_CONFIG, (seen_at_port(f"http://127.0.0.1:{port}"), engine(other)))
    assert only(report).verdict is expected


def test_port_of_a_container_is_one_finding_of_the_engine(tmp_path: Path) -> None:
    with listening(pages(QDRANT)) as (port,):
        endpoint = f"http://127.0.0.1:{port}"
        named = found(
            "docker_engine",
            Candidate("qdrant", Source.DOCKER, endpoint, "container vectors", ID),
            inventory=Inventory(EngineState.ANSWERED, (container(port),)),
        )
        finding = only(look(request_in(tmp_path), NO_CONFIG, (seen_at_port(endpoint), named)))
    assert (finding.candidate.evidence, finding.verdict) == ("container vectors", Verdict.VERIFIED)
    assert finding.reach.endpoint == "http://vectors:6333"


def test_lock_of_an_own_container_is_owned_by_its_alias(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path), checkpoint=Checkpoint(ids=frozenset({ID})))
    lock = found("lock_files", Candidate("qdrant", Source.EXTERNAL, "http://qdrant:6333", "lock file"))
    finding = only(look(request, NO_CONFIG, (lock, engine(container(1, **OURS)))))
    assert finding.verdict is Verdict.OWNED


def test_silent_engine_leaves_a_port_unasked_but_not_a_known_process(tmp_path: Path) -> None:
    with listening(pages(QDRANT)) as (port,):
        probes = (seen_at_port(f"http://127.0.0.1:{port}"), engine(state=EngineState.BROKEN))
        doubtful = only(look(request_in(tmp_path), NO_CONFIG, probes))
        address = plain_address("127.0.0.1")
        assert address is not None
        plain = found("processes", listeners=(Listener(address, port, 7, "qdrant"),))
        known = only(look(request_in(tmp_path), NO_CONFIG, (*probes, plain)))
    assert (doubtful.verdict, known.verdict) == (Verdict.SKIPPED, Verdict.VERIFIED)


# --- time ---


def hanging(name: str) -> NamedProbe:
    real = next(probe for probe in PROBES if probe.name == name)

    def hang(request: Request) -> Gathered:
        threading.Event().wait(30)
        return Gathered()

    return replace(real, probe=hang)


def test_probe_that_hangs_costs_the_budget_at_most_and_no_other(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path), budget_seconds=1.0)
    started = time.monotonic()
    with listening(pages(QDRANT)) as (port,):
        report = look(request, NO_CONFIG, (configured(f"http://127.0.0.1:{port}"), hanging("npx")))
    assert time.monotonic() - started < 2.0
    assert only(report).verdict is Verdict.VERIFIED
    assert report.warnings == ("npx: cut off; what it would have found is unknown",)


def test_engine_that_hangs_is_not_an_engine_without_containers(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path), budget_seconds=0.6)
    report = look(request, NO_CONFIG, (seen_at_port("http://127.0.0.1:1"), hanging("docker_engine")))
    assert only(report).verdict is Verdict.SKIPPED
    assert "Docker Engine" in report.warnings[0]


def test_fifty_that_never_answer_cost_the_budget(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path), budget_seconds=1.0)
    with listening(silent()) as (port,):
        candidates = (
            Candidate(f"server-{number}", Source.PROJECT, f"http://127.0.0.1:{port}/{number}", ".mcp.json")
            for number in range(50)
        )
        started = time.monotonic()
        report = look(request, NO_CONFIG, (found("project_files", *candidates),))
    assert time.monotonic() - started < 2.0
    assert {only(report, f"server-{number}").verdict for number in range(50)} == {Verdict.UNREACHABLE}


def test_the_living_among_a_thousand_are_found(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path), budget_seconds=8.0)
    with listening(silent(), mcp_server(legacy)) as ports:
        candidates = []
        for number in range(1000):
            port, path = (ports[1], "/mcp") if number % 10 == 7 else (ports[0], f"/{number}")
            candidates.append(Candidate(f"server-{number}", Source.PROJECT, f"http://127.0.0.1:{port}{path}", "file"))
        report = look(request, NO_CONFIG, (found("project_files", *candidates),))
    asked = [only(report, f"server-{number}") for number in range(7, 1000, 10)]
    # PAL is none of these names, and says so: it was asked.
    assert {finding.verdict for finding in asked} == {Verdict.IMPOSTOR}


def test_what_was_not_begun_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discovery.asking.CONCURRENCY", 1)
    monkeypatch.setattr("discovery.asking.Asker._fair_share", lambda self: 60.0)
    request = replace(request_in(tmp_path), budget_seconds=0.5)
    with listening(silent()) as (port,):
        candidates = (
            Candidate(f"server-{number}", Source.PROJECT, f"http://127.0.0.1:{port}/{number}", "file") for number in "ab"
        )
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(asyncio.to_thread(look, request, NO_CONFIG, (found("project_files", *candidates),)), 0.1))
