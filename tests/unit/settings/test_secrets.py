"""What a stack generated for itself, and what it may fill: for the services that it runs, never for somebody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from discovery.config import DiscoveryConfig
from discovery.deploy_look import request_for
from discovery.report import Finding, Reach, Vantage
from planning.decide import decide
from planning.plan import Plan, Relay, Reuse, Workload
from rendering.plan_document import plan_document
from settings import GENERATED_VARIABLE, fingerprint
from tests.builders import ROOT, finding, report_of, settings_of

GRAFANA_PASSWORD = {"GRAFANA_PASSWORD": "only-for-tests"}
OWN = {
    "REDIS_PASSWORD": "generated-redis",
    "QDRANT_API_KEY": "generated-qdrant",
    GENERATED_VARIABLE: f"{fingerprint('generated-redis')} {fingerprint('generated-qdrant')}",
}


def production(*found: Finding, environment: dict[str, str]) -> Plan:
    return decide(report_of(found), settings_of("production", environment), DiscoveryConfig())


def readers_of(name: str, plan: Plan) -> set[str]:
    return {deploy.workload.service for deploy in plan.deployments if name in deploy.workload.secrets}


def test_a_generated_secret_opens_what_this_stack_runs() -> None:
    plan = production(environment=GRAFANA_PASSWORD | OWN)
    assert readers_of("redis", plan) == {"redis", "promptcraft"}
    assert readers_of("qdrant", plan) == {"qdrant", "promptcraft", "prometheus"}


@pytest.mark.parametrize("reach", [Reach(Vantage.ANYWHERE), Reach(Vantage.HOST_LOOPBACK)])
def test_a_generated_secret_is_not_for_what_is_somebody_elses(reach: Reach) -> None:
    theirs = [
        finding("redis", endpoint="redis://127.0.0.1:6379", reach=reach),
        finding("qdrant", endpoint="http://127.0.0.1:6333", reach=reach),
    ]
    plan = production(*theirs, environment=GRAFANA_PASSWORD | OWN)
    assert {type(plan.decisions[name]) for name in ("redis", "qdrant")} <= {Reuse, Relay}
    assert readers_of("redis", plan) == readers_of("qdrant", plan) == set()
    document = json.loads(plan_document(plan, workload_of("promptcraft", plan).secrets))
    assert {document["services"][name]["credential"] for name in ("redis", "qdrant")} == {None}
    settings = settings_of("production", OWN)
    assert request_for(ROOT, settings).credentials == {}
    # What a person set is for either.
    by_hand = GRAFANA_PASSWORD | {name: text for name, text in OWN.items() if name != GENERATED_VARIABLE}
    assert readers_of("qdrant", production(*theirs, environment=by_hand)) == {"promptcraft", "prometheus"}
    assert request_for(ROOT, settings_of("production", by_hand)).credentials.keys() >= {"redis", "qdrant"}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "48"),
        ({"memory_limits": {"redis": 64}}, "32"),
        ({"gateway": {"PROMPTCRAFT_STORE_MIB": "20"}}, "20"),
    ],
)
def test_the_application_is_told_how_much_of_redis_it_may_fill(config: dict[str, Any], told: str) -> None:
    plan = decide(report_of(), settings_of("dev", None, **config), DiscoveryConfig())
    assert workload_of("promptcraft", plan).environment["PROMPTCRAFT_STORE_MIB"] == told
    plan = decide(report_of([finding("redis")]), settings_of("dev"), DiscoveryConfig())
    assert "PROMPTCRAFT_STORE_MIB" not in workload_of("promptcraft", plan).environment


def workload_of(name: str, plan: Plan) -> Workload:
    return next(deploy.workload for deploy in plan.deployments if deploy.workload.service == name)
