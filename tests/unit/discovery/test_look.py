"""One look: within its budget whatever is out there, the same in any order, and discreet with secrets."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog import LABEL_PROJECT, LABEL_SERVICE, LABEL_STACK, LABEL_STAND_IN
from discovery.config import DiscoveryConfig
from discovery.judging.selection import PinError
from discovery.look import look
from discovery.probes import PROBES, NamedProbe
from discovery.report import Candidate, Finding, Report, Source, Vantage, Verdict
from discovery.request import Checkpoint, Credential, Gathered, Probe, Request
from discovery.world import Attachment, Binding, Container, EngineState, Inventory, Listener
from errors import ConfigError
from reading.addresses import plain_address
from tests.unit.asking import request_in
from tests.unit.discovery.test_fingerprints import QDRANT, legacy, mcp_server
from tests.unit.peers import Handler, pages, serving, silent

ID = "a" * 64
NO_CONFIG = DiscoveryConfig()


@contextmanager
def listening(*handlers: Handler) -> Iterator[list[int]]:
    """Servers in a loop of their own, as the look has one of its own too."""
    ports: list[int] = []
    ready = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        finish = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(finish.set))
        async with AsyncExitStack() as stack:
            ports.extend([await stack.enter_async_context(serving(handler)) for handler in handlers])
            ready.set()
            await finish.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports
    finally:
        stop[0]()
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


def test_a_look_tells_what_wrote_the_stacks_data_and_a_snapshot_from_before_nothing(tmp_path: Path) -> None:
    volumes = {"promptcraft-dev-qdrant-data": {LABEL_STAND_IN: "a small store"}}
    inventory = Inventory(EngineState.ANSWERED, volumes=volumes)
    report = look(request_in(tmp_path), NO_CONFIG, (found("docker_engine", inventory=inventory),))
    document = json.loads(json.dumps(report.to_json()))
    assert Report.from_json(document).data_writers == {"qdrant": "a small store"}
    del document["data_writers"]
    assert Report.from_json(document).data_writers == {}


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
    assert time.monotonic() - started < 5.0
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
    assert time.monotonic() - started < 5.0
    assert {only(report, f"server-{number}").verdict for number in range(50)} == {Verdict.UNREACHABLE}


def test_the_living_among_many_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The servers share this very process with the look: on a busy machine they answer late, which is not the question.
    monkeypatch.setattr("discovery.asking.CONCURRENCY", 40)
    request = replace(request_in(tmp_path), budget_seconds=16.0)
    with listening(silent(), mcp_server(legacy, path=None)) as ports:
        candidates = [
            Candidate(
                f"server-{number}", Source.PROJECT, f"http://127.0.0.1:{ports[number % 10 == 7]}/{number}", "file"
            )
            for number in range(150)
        ]
        report = look(request, NO_CONFIG, (found("project_files", *candidates),))
    asked = [only(report, f"server-{number}") for number in range(7, 150, 10)]
    # PAL is none of these names, and says so: it was asked.
    assert {finding.verdict for finding in asked} == {Verdict.IMPOSTOR}, {finding.reason for finding in asked}


def test_what_was_not_begun_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discovery.asking.CONCURRENCY", 1)
    monkeypatch.setattr("discovery.asking.Asker._fair_share", lambda self: 0.5)
    request = replace(request_in(tmp_path), budget_seconds=0.5)
    with listening(silent()) as (port,):
        candidates = (
            Candidate(f"server-{letter}", Source.PROJECT, f"http://127.0.0.1:{port}/{letter}", "file")
            for letter in "ab"
        )
        report = look(request, NO_CONFIG, (found("project_files", *candidates),))
    assert only(report, "server-a").verdict is Verdict.UNREACHABLE
    assert (only(report, "server-b").verdict, only(report, "server-b").reason[:9]) == (Verdict.SKIPPED, "not asked")


# --- order ---


def without_times(report: Report) -> object:
    document = report.to_json()
    document["duration_ms"] = 0
    for service in document["services"].values():
        for finding in (*service["candidates"], *filter(None, [service["selected"]])):
            finding["elapsed_ms"] = 0
    return document


def test_order_of_arrival_changes_nothing(tmp_path: Path) -> None:
    with listening(pages(QDRANT), mcp_server(legacy), pages({})) as ports:
        qdrant, zen, other = (f"http://127.0.0.1:{port}" for port in ports)
        probes = [
            found("environment", Candidate("zen-mcp", Source.EXTERNAL, other, "ZEN_MCP_URL"), warnings=("first",)),
            found("user_files", Candidate("zen-mcp", Source.USER, zen, "~/.claude.json"), warnings=("second",)),
            found("ports", *(Candidate("qdrant", Source.EXTERNAL, at, "port") for at in (qdrant, other, zen))),
            engine(container(ports[2])),
        ]
        reports = []
        for seed in range(20):
            random.Random(seed).shuffle(probes)
            reports.append(without_times(look(request_in(tmp_path), NO_CONFIG, tuple(probes))))
    assert all(report == reports[0] for report in reports)


def test_endpoint_is_asked_once_whoever_names_it(tmp_path: Path) -> None:
    seen: list[str] = []
    with listening(pages(QDRANT, seen)) as (port,):
        endpoint = f"http://127.0.0.1:{port}"
        look(
            request_in(tmp_path), NO_CONFIG, (configured(endpoint), seen_at_port(endpoint), configured(f"{endpoint}/"))
        )
    assert len([head for head in seen if head.startswith("GET / ")]) == 1


# --- which MCP server ---


def test_server_under_a_strangers_name_is_an_impostor_there_and_found_under_its_own(tmp_path: Path) -> None:
    with listening(mcp_server(legacy)) as (port,):
        named = found("user_files", Candidate("thinker", Source.USER, f"http://127.0.0.1:{port}/mcp", "~/.claude.json"))
        report = look(request_in(tmp_path), NO_CONFIG, (named,))
    assert only(report, "thinker").verdict is Verdict.IMPOSTOR
    assert "'PAL'" in only(report, "thinker").reason
    selected = report.services["zen-mcp"].selected
    assert selected is not None
    assert selected.candidate.source is Source.USER


def test_configured_identities_decide(tmp_path: Path) -> None:
    config = DiscoveryConfig.model_validate({"servers": {"zen-mcp": {"identities": ("my-zen",)}}})
    with listening(mcp_server(legacy)) as (port,):
        report = look(request_in(tmp_path), config, (seen_at_port(f"http://127.0.0.1:{port}", "zen-mcp"),))
    assert only(report, "zen-mcp").verdict is Verdict.IMPOSTOR


def test_npx_is_verified_only_where_npx_is(tmp_path: Path) -> None:
    package = found("npx", Candidate("context7", Source.NPX, "npx:@upstash/context7-mcp", "npx package of context7"))
    config = DiscoveryConfig.model_validate({"servers": {"context7": {}}})
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    npx = bin_folder / "npx"
    npx.write_text("#!/bin/sh\n")
    npx.chmod(0o755)
    there = look(request_in(tmp_path, PATH=str(bin_folder)), config, (package,))
    missing = look(request_in(tmp_path, PATH=str(tmp_path)), config, (package,))
    assert (only(there, "context7").verdict, only(there, "context7").reach.vantage) == (
        Verdict.VERIFIED,
        Vantage.PROCESS,
    )
    assert only(missing, "context7").verdict is Verdict.UNREACHABLE


# --- secrets ---

KEYED: Mapping[str, Any] = {**QDRANT, "GET /collections": (401, {}, "Must provide an API key")}


@pytest.mark.parametrize(("probe", "sent"), [(configured, True), (seen_at_port, False)])
def test_secret_goes_only_to_what_the_operator_named(
    tmp_path: Path, probe: Callable[[str], NamedProbe], sent: bool
) -> None:
    seen: list[str] = []
    request = replace(request_in(tmp_path), credentials={"qdrant": Credential(secret="s3cret-value")})
    with listening(pages(KEYED, seen)) as (port,):
        finding = only(look(request, NO_CONFIG, (probe(f"http://127.0.0.1:{port}"),)))
    assert finding.verdict is Verdict.AUTH_REQUIRED
    assert ("s3cret-value" in "".join(seen)) is sent
    assert "s3cret-value" not in str(finding)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:1/",
        "http://user:hunter2@127.0.0.1:1",
        "http://0x7f.1:1",
    ],
)
def test_endpoint_that_is_none_is_skipped_with_its_reason(tmp_path: Path, endpoint: str) -> None:
    finding = only(look(request_in(tmp_path), NO_CONFIG, (configured(endpoint),)))
    assert finding.verdict is Verdict.SKIPPED
    assert "hunter2" not in str(finding)


# --- configuration ---


def test_all_broken_files_are_named_at_once(tmp_path: Path) -> None:
    def broken(line: str) -> Probe:
        def probe(request: Request) -> Gathered:
            raise ConfigError(line)

        return probe

    probes = [replace(PROBES[index], probe=broken(f"file{index}:1: key: wrong; mend it")) for index in (2, 7)]
    with pytest.raises(ConfigError, match=r"file2:1.*\nfile7:1"):
        look(request_in(tmp_path), NO_CONFIG, probes)


def test_pinned_endpoint_is_asked_and_chosen(tmp_path: Path) -> None:
    with listening(pages(QDRANT), pages(QDRANT)) as ports:
        pinned, other = (f"http://127.0.0.1:{port}" for port in ports)
        request = replace(request_in(tmp_path), pins={"qdrant": pinned})
        selected = look(request, NO_CONFIG, (configured(other),)).services["qdrant"].selected
    assert selected is not None
    assert (selected.candidate.endpoint, selected.candidate.evidence) == (pinned, "pin")


@pytest.mark.parametrize(
    ("pins", "reason"),
    [
        ({"qdrant": "http://127.0.0.1:1"}, "unreachable"),
        ({"qdrant": "user_installation"}, "nothing of that kind"),
        ({"qdrant": "somewhere"}, "name a source"),
        ({"qdrant": "http://u:hunter2@10.0.0.1:1"}, "user name or password"),
        ({"postgres": "http://127.0.0.1:1"}, "pins no service"),
    ],
)
def test_pin_that_cannot_be_honoured_is_an_error(tmp_path: Path, pins: dict[str, str], reason: str) -> None:
    with pytest.raises(PinError, match=reason) as error:
        look(replace(request_in(tmp_path), pins=pins), NO_CONFIG, ())
    assert "hunter2" not in str(error.value)
    assert str(error.value).startswith("Pulumi.dev.yaml:1: pin.")
