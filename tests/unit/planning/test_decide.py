"""Decisions: for each state of the world, what serves each service and why."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from discovery.config import DiscoveryConfig, parse_discovery_config
from discovery.report import (
    AgentReport,
    Finding,
    NamedBy,
    Obstacle,
    Ownership,
    Reach,
    Remembered,
    Source,
    Vantage,
    Verdict,
)
from errors import ConfigError
from planning.decide import decide
from planning.plan import Deploy, Omit, Plan, Relay, Reuse
from settings.images import Image
from tests.builders import finding, report_of, settings_of

CONFIG = DiscoveryConfig()
LOOPBACK = Reach(Vantage.HOST_LOOPBACK)
ELSEWHERE = Reach(Vantage.OTHER_LOOPBACK)
QDRANT = finding("qdrant", endpoint="http://10.0.0.5:6333", evidence="QDRANT_HOST", named_by=NamedBy.OPERATOR)


def plan_of(*found: Finding, stack: str = "dev", previous: dict[str, dict[str, str | None]] | None = None) -> Plan:
    return decide(report_of(found, previous=previous), settings_of(stack), CONFIG)


def told(plan: Plan) -> tuple[str, ...]:
    """The notices, but for the one that there is no model."""
    return tuple(line for line in plan.notices if line != plan.models.problem)


def source(plan: Plan, service: str) -> str | None:
    return plan.summary()[service]["source"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((), "deployed"),
        ((QDRANT,), "external_deployment"),
        ((finding("qdrant", Verdict.IMPOSTOR),), "deployed"),
        ((finding("qdrant", Verdict.UNREACHABLE),), "deployed"),
        ((finding("qdrant", Verdict.AUTH_REQUIRED),), "deployed"),
        ((finding("qdrant", Verdict.SKIPPED),), "deployed"),
        ((finding("qdrant", Verdict.OWNED, ownership=Ownership.OURS),), "deployed"),
        ((finding("qdrant", reach=LOOPBACK),), "external_deployment"),
        ((finding("qdrant", reach=ELSEWHERE),), "deployed"),
        ((finding("qdrant", endpoint="https://127.0.0.1:6333", reach=LOOPBACK),), "deployed"),
        ((finding("qdrant", reach=Reach(Vantage.PROCESS)),), "deployed"),
        ((finding("qdrant", reach=LOOPBACK), finding("qdrant", source=Source.DOCKER)), "external_deployment"),
        ((finding("qdrant", reach=ELSEWHERE), finding("qdrant", source=Source.DOCKER)), "docker_service"),
    ],
)
def test_only_what_is_verified_and_reachable_from_containers_is_reused(
    found: tuple[Finding, ...], expected: str
) -> None:
    assert source(plan_of(*found), "qdrant") == expected


@pytest.mark.parametrize(
    "found",
    [
        finding("qdrant", endpoint="http://127.0.0.1:6333", reach=ELSEWHERE),
        finding("qdrant", endpoint="https://localhost:6333", reach=LOOPBACK),
    ],
)
def test_what_no_relay_can_carry_is_turned_down_aloud(found: Finding) -> None:
    plan = plan_of(found)
    assert [line for line in plan.notices if found.candidate.endpoint in line and "loopback" in line]


def test_a_service_on_the_hosts_loopback_is_reached_by_a_relay_that_the_budget_counts() -> None:
    plan = plan_of(finding("zen-mcp", endpoint="http://[::1]:8000/mcp", reach=LOOPBACK))
    relay, app = plan.decisions["zen-mcp"], plan.decisions["promptcraft"]
    assert isinstance(relay, Relay) and isinstance(app, Deploy)
    assert (relay.target, relay.endpoint) == ("[::1]:8000", f"http://zen-mcp-relay:{relay.port}/mcp")
    assert app.workload.relays == (relay.workload.service,) == ("zen-mcp-relay",)
    assert "relay" in relay.reason
    without = sum(deploy.workload.memory_mb for deploy in plan.deployments)
    assert plan.budget.memory_mb == without + relay.workload.memory_mb


def test_no_port_is_beyond_the_last() -> None:
    on_the_host = report_of([finding("qdrant", reach=LOOPBACK)])
    decide(on_the_host, settings_of("dev", port_offset=44202), CONFIG)
    with pytest.raises(ConfigError, match=r"portOffset: 44203 puts the relay to qdrant on port 65536.* at most 44202$"):
        decide(on_the_host, settings_of("dev", port_offset=44203), CONFIG)
    public = settings_of("production", WATCHED, port_offset=50000, public_port=20000)
    with pytest.raises(ConfigError, match=r"50000 puts nginx on port 70000, beyond 65535; use at most 45535"):
        decide(report_of(), public, CONFIG)


@pytest.mark.parametrize(("kind", "name"), [("container", "promptcraft-dev-qdrant-relay"), ("port", "21433")])
def test_a_relay_is_a_workload_like_any_other_to_what_stands_in_its_way(kind: str, name: str) -> None:
    report = report_of([finding("qdrant", reach=LOOPBACK)], obstacles=(Obstacle(kind, name, "somebody", "remove it"),))
    with pytest.raises(ConfigError, match=rf"qdrant.*: {kind} {name} is held by somebody; remove it"):
        decide(report, settings_of("dev", port_offset=100), CONFIG)


@pytest.mark.parametrize(("ours", "lines"), [({}, 1), ({"qdrant": {"source": "deployed"}}, 0)])
def test_anothers_service_is_offered_once_before_an_own_one_is_there(
    ours: dict[str, dict[str, str | None]], lines: int
) -> None:
    theirs = finding("qdrant", Verdict.SKIPPED, source=Source.DOCKER, ownership=Ownership.FOREIGN_CLAIM)
    plan = plan_of(theirs, theirs, previous=ours)
    assert plan.notices.count("qdrant: said so") == lines


def test_a_service_in_another_network_is_reached_by_joining_it() -> None:
    plan = plan_of(finding("redis", reach=Reach(Vantage.CONTAINER_NETWORK, "theirs", "redis://cache:6379")))
    decision, app = plan.decisions["redis"], plan.decisions["promptcraft"]
    assert isinstance(decision, Reuse) and isinstance(app, Deploy)
    assert (decision.endpoint, decision.network, app.workload.join) == ("redis://cache:6379", "theirs", ("theirs",))


def test_the_application_is_never_somebody_elses() -> None:
    assert source(plan_of(finding("promptcraft")), "promptcraft") == "deployed"


def test_a_reason_holds_nothing_that_changes_between_two_looks() -> None:
    first = plan_of(finding("qdrant", Verdict.UNREACHABLE))
    second = plan_of(finding("qdrant", Verdict.OWNED, ownership=Ownership.OURS))
    assert first.summary() == second.summary()


@pytest.mark.parametrize(
    ("pinned", "expected"), [({}, "deployed"), ({"qdrant": "external_deployment"}, "external_deployment")]
)
def test_own_data_is_not_abandoned_without_a_pin(pinned: dict[str, str], expected: str) -> None:
    report = report_of([QDRANT], previous={"qdrant": {"source": "deployed", "endpoint": "http://qdrant:6333"}})
    plan = decide(report, settings_of("dev", pin=pinned), CONFIG)
    assert source(plan, "qdrant") == expected
    assert any(line.startswith("qdrant:") for line in plan.notices)


def test_a_vanished_service_is_announced_with_what_replaces_it_and_why() -> None:
    before: dict[str, dict[str, str | None]] = {
        "redis": {"source": "external_deployment", "endpoint": "redis://10.0.0.5:6379"}
    }
    gone = finding(
        "redis", Verdict.UNREACHABLE, endpoint="redis://10.0.0.5:6379", evidence="REDIS_URL", named_by=NamedBy.OPERATOR
    )
    plan = plan_of(gone, previous=before)
    assert [
        line
        for line in plan.notices
        if line.startswith("redis: was external_deployment redis://10.0.0.5:6379, will be deployed redis://redis:6379")
        and "REDIS_URL is unreachable" in line
    ]


def test_an_unchanged_source_is_not_announced() -> None:
    settled = plan_of(QDRANT).summary()
    assert told(plan_of(QDRANT, previous=settled)) == ()


def test_a_pin_that_cannot_be_honoured_is_an_error_naming_it() -> None:
    with pytest.raises(ConfigError, match=r"pin\.qdrant: 'external_deployment' cannot be honoured"):
        decide(report_of(), settings_of("dev", pin={"qdrant": "external_deployment"}), CONFIG)


SHARED = replace(QDRANT, version="1.12.0", holds=("docs", "notes"))
ZEN = finding("zen-mcp", endpoint="http://10.0.0.5:8000/mcp", evidence="ZEN_MCP_URL", named_by=NamedBy.OPERATOR)
ELSEWHERE_NOW = replace(SHARED, candidate=replace(SHARED.candidate, endpoint="http://10.0.0.6:6333"))


def not_now(before: Finding, verdict: Verdict) -> Finding:
    return replace(before, verdict=verdict, holds=None, version=None)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (SHARED, (SHARED,), ""),
        (SHARED, (replace(SHARED, version="1.17.0"),), "runs version 1.17.0 now, was 1.12.0"),
        (SHARED, (replace(SHARED, holds=("docs",)),), "no longer holds notes"),
        (SHARED, (replace(SHARED, holds=("docs", "more")),), "no longer holds notes"),
        (SHARED, (ELSEWHERE_NOW,), "was external_deployment http://10.0.0.5:6333, will be external_deployment"),
        (ZEN, (not_now(ZEN, Verdict.UNREACHABLE),), "will be deployed http://zen-mcp:8000/mcp: ZEN_MCP_URL is unreach"),
        (ZEN, (), "will be deployed http://zen-mcp:8000/mcp: ZEN_MCP_URL is not found any more"),
    ],
)
def test_a_change_that_loses_nothing_is_one_line(before: Finding, now: tuple[Finding, ...], expected: str) -> None:
    plan = plan_of(*now, previous=plan_of(before).summary())
    lines = [line for line in plan.notices if line.startswith(f"{before.candidate.service}:")]
    assert expected in "\n".join(lines) and (not expected) == (not lines)


@pytest.mark.parametrize("names", [("docs", "notes"), ("2026",), ("[docs",)])
def test_what_an_earlier_version_remembered_of_the_data_counts(names: tuple[str, ...]) -> None:
    known = replace(SHARED, holds=names)
    before = plan_of(known).summary()
    previous = before | {"qdrant": before["qdrant"] | {"holds": ", ".join(names)}}
    assert not [line for line in plan_of(known, previous=previous).notices if line.startswith("qdrant:")]
    with pytest.raises(ConfigError, match=rf"has lost its data.*{re.escape(', '.join(names))}"):
        plan_of(replace(SHARED, holds=("else",)), previous=previous)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (SHARED, (), r"QDRANT_HOST is not found any more.*'pin.qdrant' deployed"),
        (SHARED, (not_now(SHARED, Verdict.UNREACHABLE),), r"QDRANT_HOST is unreachable.*'pin.qdrant' deployed"),
        (SHARED, (not_now(SHARED, Verdict.UNHEALTHY),), r"QDRANT_HOST is unhealthy.*'pin.qdrant' deployed"),
        (SHARED, (not_now(SHARED, Verdict.AUTH_REQUIRED),), r"QDRANT_HOST is auth_required.*'pin.qdrant' deployed"),
        (SHARED, (not_now(SHARED, Verdict.IMPOSTOR),), r"QDRANT_HOST is impostor.*'pin.qdrant' deployed"),
        (SHARED, (replace(SHARED, holds=()),), r"has lost its data.*docs, notes.*'pin.qdrant' http://10.0.0.5:6333"),
        (
            SHARED,
            (replace(SHARED, holds=("else",)),),
            r"has lost its data, or is another.*'pin.qdrant' http://10.0.0.5",
        ),
        (
            replace(SHARED, holds=("one, two", "three")),
            (replace(SHARED, holds=("one", "two")),),
            r"has lost its data.*three.*'pin.qdrant' http://10.0.0.5",
        ),
        (SHARED, (replace(ELSEWHERE_NOW, holds=()),), r"not have its data: .*'pin.qdrant' http://10.0.0.6:6333"),
        (
            SHARED,
            (not_now(SHARED, Verdict.UNREACHABLE), finding("qdrant", evidence="port 6333")),
            r"QDRANT_HOST is unreachable.*'pin.qdrant' http://10.0.0.5/qdrant",
        ),
        (ZEN, (not_now(ZEN, Verdict.AUTH_REQUIRED),), r"ZEN_MCP_URL is auth_required.*'pin.zen-mcp' deployed"),
        (ZEN, (not_now(ZEN, Verdict.IMPOSTOR),), r"ZEN_MCP_URL is impostor.*'pin.zen-mcp' deployed"),
    ],
)
def test_a_change_that_loses_data_or_hides_a_fault_needs_a_pin(
    before: Finding, now: tuple[Finding, ...], expected: str
) -> None:
    previous = plan_of(before).summary()
    name = before.candidate.service
    with pytest.raises(ConfigError, match=rf"{name}: external_deployment .*{expected}") as raised:
        plan_of(*now, previous=previous)
    assert len(str(raised.value).splitlines()) == 1

    pin = str(raised.value).rsplit(" ", 1)[1]
    plan = decide(report_of(now, previous=previous), settings_of("dev", pin={name: pin}), CONFIG)
    assert (source(plan, name) == "deployed") == (pin == "deployed")


def test_a_pin_to_the_stacks_own_outlasts_what_comes_back() -> None:
    settings = settings_of("hybrid", pin={"qdrant": "deployed"}, fallback=False, expected_outside=["qdrant"])
    plan = decide(report_of([SHARED], previous=plan_of(SHARED).summary()), settings, CONFIG)
    assert str(plan.summary()["qdrant"]["reason"]).startswith("pinned to this stack's own")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (replace(not_now(ZEN, Verdict.SKIPPED), candidate=replace(ZEN.candidate, endpoint="")), "zen-mcp: said so"),
        (not_now(QDRANT, Verdict.AUTH_REQUIRED), "qdrant: QDRANT_HOST: http://10.0.0.5:6333 is auth_required: said so"),
    ],
)
def test_what_the_operator_wrote_and_what_cannot_be_meant_is_an_error(found: Finding, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        plan_of(found)


@pytest.mark.parametrize("verdict", [Verdict.UNREACHABLE, Verdict.UNHEALTHY, Verdict.IMPOSTOR, Verdict.SKIPPED])
def test_what_the_operator_named_and_is_not_used_is_said(verdict: Verdict) -> None:
    plan = plan_of(not_now(QDRANT, verdict))
    assert f"qdrant: QDRANT_HOST: http://10.0.0.5:6333 is {verdict.value}: said so; not used" in plan.notices


def test_hybrid_falls_back_with_a_warning_or_fails_when_told_not_to() -> None:
    warned = [line for line in plan_of(stack="hybrid").notices if "fallback" in line]
    assert {line.split(":")[0] for line in warned} == {"qdrant", "zen-mcp"}
    with pytest.raises(ConfigError) as raised:
        decide(report_of(), settings_of("hybrid", fallback=False), CONFIG)
    assert "QDRANT_HOST" in str(raised.value) and "ZEN_MCP_URL" in str(raised.value)


WATCHED = {"GRAFANA_PASSWORD": "only-for-tests"}


def exporters_of(*found: Finding, **config: object) -> list[str]:
    plan = decide(report_of(found), settings_of("production", WATCHED, **config), CONFIG)
    return [workload.service for workload in plan.exporters]


def test_an_exporter_comes_with_a_service_of_ours_and_a_prometheus_that_reaches_it() -> None:
    inside = Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://prometheus:9090")
    assert exporters_of() == ["nginx-exporter", "redis-exporter"]
    assert exporters_of(finding("redis", endpoint="redis://10.0.0.5:6379")) == ["nginx-exporter"]
    assert exporters_of(load_balancer=False) == ["redis-exporter"]
    assert exporters_of(monitoring=False) == []
    assert exporters_of(finding("prometheus")) == []
    assert exporters_of(finding("prometheus", reach=inside)) == ["nginx-exporter", "redis-exporter"]


def test_monitoring_fits_every_budget_but_the_clouds() -> None:
    elsewhere = (finding("qdrant"), finding("zen-mcp"))
    hybrid = decide(report_of(elsewhere), settings_of("hybrid", WATCHED, monitoring=True), CONFIG)
    assert hybrid.budget.memory_mb <= 1024
    decide(report_of(), settings_of("dev", WATCHED, monitoring=True), CONFIG)
    with pytest.raises(ConfigError, match=r"memoryBudgetMb: 500 MiB is less than the 736 MiB .* grafana 1 x 256"):
        decide(report_of(), settings_of("cloud", WATCHED, monitoring=True), CONFIG)


def test_the_budget_names_services_and_numbers() -> None:
    with pytest.raises(ConfigError, match=r"memoryBudgetMb: 500 MiB .* 992 MiB .*promptcraft 1 x 384"):
        decide(report_of(), settings_of("dev", memory_budget_mb=500), CONFIG)
    with pytest.raises(ConfigError, match=r"diskBudgetGb: 1 GB .*qdrant 2.0"):
        decide(report_of(), settings_of("dev", disk_budget_gb=1), CONFIG)


def test_resource_requirements_override_a_servers_limits() -> None:
    config = parse_discovery_config(
        b"servers:\n  zen-mcp:\n    resource_requirements:\n      memory_mb: 300\n      cpu_cores: 0.25\n"
    )
    decision = decide(report_of(), settings_of("dev"), config).decisions["zen-mcp"]
    assert isinstance(decision, Deploy)
    assert (decision.workload.memory_mb, decision.workload.cpu_cores) == (300, 0.25)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("port", "6333"),
        ("container", "promptcraft-dev-qdrant"),
        ("volume", "promptcraft-dev-qdrant-data"),
        ("network", "promptcraft-dev-network"),
    ],
)
def test_what_stands_in_the_way_is_named_with_its_holder(kind: str, name: str) -> None:
    obstacle = Obstacle(kind, name, "somebody (pid 7)", "stop it")
    with pytest.raises(ConfigError, match=rf"{kind} {name} is held by somebody \(pid 7\); stop it"):
        decide(report_of(obstacles=(obstacle,)), settings_of("dev"), CONFIG)


def test_an_obstacle_to_what_is_not_declared_is_none() -> None:
    obstacle = Obstacle("port", "6333", "the Qdrant that is reused", "")
    assert (
        source(decide(report_of([QDRANT], obstacles=(obstacle,)), settings_of("dev"), CONFIG), "qdrant") != "deployed"
    )


def test_the_port_offset_moves_every_published_port() -> None:
    plan = decide(report_of(), settings_of("dev", port_offset=100), CONFIG)
    ports = {
        port.external for deploy in plan.deployments for replica in deploy.workload.replicas for port in replica.ports
    }
    assert ports == {7960, 7962, 8100, 6433}


def test_what_a_service_needs_is_declared_before_it() -> None:
    order = [deploy.workload.service for deploy in plan_of().deployments]
    assert order.index("promptcraft") == len(order) - 1


@pytest.mark.parametrize(
    ("found", "resolved", "expected"),
    [
        ((), None, "http://qdrant:6333"),
        ((QDRANT,), "http://10.0.0.5:6333", "http://10.0.0.5:6333"),
        (
            (finding("qdrant", endpoint="http://127.0.0.1:6333", reach=LOOPBACK),),
            "http://127.0.0.1:6333",
            "http://qdrant-relay:21333",
        ),
        ((QDRANT,), "http://elsewhere:6333", "http://elsewhere:6333"),
    ],
)
def test_an_agent_gets_the_service_that_the_stack_will_have(
    found: tuple[Finding, ...], resolved: str | None, expected: str
) -> None:
    report = replace(report_of(found), agents={"a": AgentReport(None, dependencies={"qdrant": resolved})})
    assert decide(report, settings_of("dev"), CONFIG).agents["a"].dependencies == {"qdrant": expected}


def test_cloud_uses_nothing_but_the_application() -> None:
    plan = plan_of(QDRANT, stack="cloud")
    assert isinstance(plan.decisions["qdrant"], Omit)
    assert [deploy.workload.service for deploy in plan.deployments] == ["promptcraft"]


def test_what_nobody_named_is_offered_with_the_pin_that_takes_it_each_time() -> None:
    found = finding("zen-mcp", Verdict.SKIPPED, endpoint="http://127.0.0.1:8001", evidence="port 8001")
    report = report_of([replace(found, offered=True)])
    for previous in ({}, {"zen-mcp": Remembered("deployed", "http://zen-mcp:8000/mcp")}):
        plan = decide(replace(report, previous=previous), settings_of("production", GRAFANA_PASSWORD), CONFIG)
        assert source(plan, "zen-mcp") == "deployed"
        assert (
            "zen-mcp: http://127.0.0.1:8001 (port 8001) is there, but nobody named it; not taken. "
            "To take it: pulumi config set --stack production --path 'pin.zen-mcp' http://127.0.0.1:8001"
        ) in plan.notices


def test_production_that_has_taken_what_nobody_named_keeps_its_data_until_a_pin_says_so() -> None:
    before = replace(finding("qdrant", endpoint="http://10.0.0.5:6333", evidence="port 6333"), holds=("docs",))
    previous = decide(report_of([before]), settings_of("production", GRAFANA_PASSWORD), CONFIG).summary()
    now = replace(before, verdict=Verdict.SKIPPED, reason="nobody named it", offered=True, holds=None)
    with pytest.raises(ConfigError, match=r"is in use, but port 6333 is skipped: nobody named it; .*'pin\.qdrant'"):
        decide(report_of([now], previous=previous), settings_of("production", GRAFANA_PASSWORD), CONFIG)


def test_who_named_it_is_a_fact_and_not_what_the_evidence_says() -> None:
    prose = finding("redis", endpoint="redis://10.0.0.5:6379", evidence="REDIS_URL")
    assert isinstance(plan_of(prose, stack="cloud").decisions["redis"], Omit)
    fact = finding("redis", endpoint="redis://10.0.0.5:6379", evidence="somewhere", named_by=NamedBy.OPERATOR)
    assert isinstance(plan_of(fact, stack="cloud").decisions["redis"], Reuse)


def test_a_named_service_that_refuses_the_credential_is_an_error_and_a_found_one_is_not() -> None:
    refused = finding(
        "redis",
        Verdict.AUTH_REQUIRED,
        endpoint="rediss://10.0.0.5:6380",
        evidence="REDIS_URL (.env)",
        named_by=NamedBy.OPERATOR,
    )
    said = r"^redis: REDIS_URL \(\.env\): rediss://10\.0\.0\.5:6380 is auth_required: said so$"
    with pytest.raises(ConfigError, match=said):
        plan_of(refused)
    decision = plan_of(finding("redis", Verdict.AUTH_REQUIRED, evidence="port 6379")).decisions["redis"]
    assert isinstance(decision, Deploy)


GRAFANA_PASSWORD = {"GRAFANA_PASSWORD": "only-for-tests"}


def production(*found: Finding, environment: dict[str, str] | None = GRAFANA_PASSWORD, **config: object) -> Plan:
    return decide(report_of(found), settings_of("production", environment, **config), CONFIG)


def test_production_runs_everything_and_only_nginx_listens_beyond_the_loopback() -> None:
    plan = production()
    published = {
        deploy.workload.service: {port.ip for replica in deploy.workload.replicas for port in replica.ports}
        for deploy in plan.deployments
    }
    assert published == {
        "promptcraft": {"127.0.0.1"},
        "redis": set(),
        "zen-mcp": {"127.0.0.1"},
        "qdrant": {"127.0.0.1"},
        "nginx": {"0.0.0.0"},
        "prometheus": {"127.0.0.1"},
        "grafana": {"127.0.0.1"},
    }


def test_a_load_balancer_outside_production_stays_on_the_loopback() -> None:
    plan = decide(report_of(), settings_of("dev", load_balancer=True), CONFIG)
    nginx = plan.decisions["nginx"]
    assert isinstance(nginx, Deploy)
    assert [port.ip for port in nginx.workload.replicas[0].ports] == ["127.0.0.1"]


def test_grafana_without_a_password_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"grafanaPassword: Grafana has no default password; set one: pulumi config"):
        production(environment=None)
    production(finding("grafana"), environment=None)


TOKENS = {"GATEWAY_TOKENS": "only-for-tests-0123456789"}


def test_production_without_tokens_says_that_no_agent_will_run() -> None:
    assert any("gatewayTokens --stack production" in notice for notice in production().notices)
    plan = production(environment=GRAFANA_PASSWORD | TOKENS)
    assert not any("gatewayTokens" in notice for notice in plan.notices)
    readers = {deploy.workload.service for deploy in plan.deployments if "gatewayTokens" in deploy.workload.secrets}
    assert readers == {"promptcraft"}


@pytest.mark.parametrize(("services", "monitoring"), [(["promptcraft", "grafana"], False), (["redis"], True)])
def test_what_serves_nobody_without_another_is_refused(services: list[str], monitoring: bool) -> None:
    with pytest.raises(ConfigError, match=r"services: (grafana|nginx) is of no use without (prometheus|promptcraft)"):
        production(services=services, monitoring=monitoring)


def test_grafana_reaches_a_prometheus_in_another_network() -> None:
    reach = Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://metrics:9090")
    plan = production(finding("prometheus", reach=reach))
    joined = {deploy.workload.service: deploy.workload.join for deploy in plan.deployments}
    assert joined == {
        "promptcraft": ("theirs",),
        "grafana": ("theirs",),
        "redis": (),
        "zen-mcp": (),
        "qdrant": (),
        "nginx": (),
    }


def test_a_stand_in_is_named_in_the_reason() -> None:
    plan = plan_of()
    for deploy in plan.deployments:
        assert (deploy.workload.image.stand_in or "") in deploy.reason


REAL, STAND_IN = Image("qdrant/qdrant:v1.0.0"), Image("promptcraft.local/qdrant:0", stand_in="a small store")


def over_data(writers: dict[str, str], image: Image, pin: dict[str, str] | None = None, **config: Any) -> Plan:
    settings = settings_of("dev", pin=pin or {}, **config)
    images = {**settings.images, "qdrant": image, "redis": image, "zen-mcp": image}
    return decide(report_of(data_writers=writers), replace(settings, images=images), CONFIG)


@pytest.mark.parametrize(
    ("writer", "image", "wrote", "takes"),
    [
        ("an older store", REAL, "a stand-in (an older store)", "the real Qdrant, qdrant/qdrant:v1.0.0,"),
        ("", STAND_IN, "the real Qdrant", "a stand-in (a small store), promptcraft.local/qdrant:0,"),
    ],
)
def test_what_a_stand_in_wrote_is_not_taken_over_without_a_pin(
    writer: str, image: Image, wrote: str, takes: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        over_data({"qdrant": writer}, image)
    cure = "pulumi config set --stack dev --path 'pin.qdrant' deployed"
    assert str(raised.value) == (
        f"qdrant: its data (volume promptcraft-dev-qdrant-data) was written by {wrote}, and {takes} would take it "
        f"over, which cannot read it; keep a copy first: make backup STACK=dev; then accept an empty qdrant: {cure}"
    )
    with pytest.raises(ConfigError, match="its data"):
        over_data({"qdrant": writer}, image, {"redis": "deployed"})
    told = f"qdrant: {takes} takes over from {wrote}, whose data stays in volume promptcraft-dev-qdrant-data, unread"
    assert told in over_data({"qdrant": writer}, image, {"qdrant": "deployed"}).notices


@pytest.mark.parametrize(
    ("writers", "image"),
    [
        ({}, REAL),
        ({}, STAND_IN),
        ({"qdrant": ""}, REAL),
        ({"qdrant": "an older store"}, STAND_IN),
        ({"qdrant": "", "redis": "another Redis"}, REAL),
        ({"qdrant": "", "zen-mcp": "another Zen"}, REAL),
    ],
)
def test_nothing_is_said_of_data_that_stays_with_its_kind_or_can_be_made_again(
    writers: dict[str, str], image: Image
) -> None:
    assert told(over_data(writers, image)) == ()


def test_data_that_nobody_takes_over_is_in_nobodys_way() -> None:
    plan = over_data({"qdrant": "an older store"}, REAL, services=["promptcraft", "redis"])
    assert not [line for line in plan.notices if line.startswith("qdrant:")]


def test_the_application_is_told_what_the_stack_sets_for_it() -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    settings = settings_of("dev", {"EMBEDDINGS_API_KEY": "e-key"}, gateway=told)
    decision = decide(report_of(), settings, DiscoveryConfig()).decisions["promptcraft"]
    assert isinstance(decision, Deploy)
    workload = decision.workload
    assert workload.environment.items() >= told.items()
    assert workload.environment["PROMPTCRAFT_EMBEDDINGS_KEY_FILE"] == "/run/promptcraft/secrets/embeddingsKey"
    assert "embeddingsKey" in workload.secrets
