"""Which pins count for a stack, and what the application is told of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from discovery.config import DiscoveryConfig
from discovery.report import Finding, Launch
from gateway.plan import Plan as GatewayPlan
from planning.decide import decide
from planning.plan import Plan
from rendering.plan_document import pin_file, plan_document
from tests.builders import finding, report_of, settings_of
from tests.unit.planning.test_mcp_servers import launchable


def plan_of(*found: Finding, pins: tuple[str, ...] = ()) -> Plan:
    report = replace(report_of(found), tool_pins=dict.fromkeys(pins, "0" * 64))
    return decide(report, settings_of("dev"), DiscoveryConfig())


def services(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan_document(plan, ()))["services"]
    return found


def test_a_pin_reaches_the_application_with_its_server() -> None:
    plan = plan_of(finding("zen-mcp", endpoint="http://10.0.0.5:8000/mcp"), pins=("zen-mcp",))
    told = services(plan)
    assert told["zen-mcp"]["pin"] == pin_file("zen-mcp")
    read = GatewayPlan.model_validate(json.loads(plan_document(plan, ()))).services["zen-mcp"]
    assert str(read.pin) == pin_file("zen-mcp")
    assert "pin" not in told["redis"]


@pytest.mark.parametrize("name", ["gone", "redis"])
def test_a_pin_of_what_the_stack_does_not_use_is_told_and_counts_for_nothing(name: str) -> None:
    plan = plan_of(pins=(name,))
    assert plan.pinned == frozenset()
    assert f"pins/{name}.json: this stack uses no MCP server {name}, so nothing is held against it" in plan.notices


def test_without_pins_nothing_is_told() -> None:
    assert not [notice for notice in plan_of().notices if "pins/" in notice]


def test_what_is_started_otherwise_is_first_seen_anew() -> None:
    one, same, other = (
        services(plan_of(launchable("notes", Launch("npx", package))))["notes"]["identity"]
        for package in ("a@1.0.0", "a@1.0.0", "a@2.0.0")
    )
    assert one == same != other


def test_where_anothers_server_is_does_not_make_it_another() -> None:
    for port in (8000, 8001):
        plan = plan_of(finding("zen-mcp", endpoint=f"http://10.0.0.5:{port}/mcp"))
        assert "identity" not in services(plan)["zen-mcp"]
