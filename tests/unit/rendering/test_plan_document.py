"""The plan as the application reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from discovery.config import DiscoveryConfig
from discovery.report import Finding, Reach, Vantage
from gateway.plan import Plan as GatewayPlan
from planning.decide import decide
from rendering.plan_document import plan_document
from tests.builders import finding, report_of, settings_of

LOOPBACK = Reach(Vantage.HOST_LOOPBACK)
JOINED = Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://theirs-zen:8000/mcp")


@pytest.mark.parametrize(
    ("found", "action", "endpoint", "host"),
    [
        (finding("zen-mcp", endpoint="http://10.0.0.5:8000/mcp"), "reuse", "http://10.0.0.5:8000/mcp", None),
        (
            finding("zen-mcp", endpoint="http://127.0.0.1:8000/mcp", reach=LOOPBACK),
            "relay",
            "http://zen-mcp-relay:23000/mcp",
            "127.0.0.1:8000",
        ),
        (
            finding("zen-mcp", endpoint="http://127.0.0.1:8000/mcp", reach=JOINED),
            "reuse",
            "http://theirs-zen:8000/mcp",
            "127.0.0.1:8000",
        ),
    ],
)
def test_a_service_is_asked_for_under_the_name_it_proved_itself_by(
    found: Finding, action: str, endpoint: str, host: str | None
) -> None:
    plan = decide(report_of([found]), settings_of("dev"), DiscoveryConfig())
    document: dict[str, Any] = json.loads(plan_document(plan, ()))
    told = document["services"]["zen-mcp"]
    assert (told["action"], told["endpoint"], told["host"]) == (action, endpoint, host)
    read = GatewayPlan.model_validate(document).services["zen-mcp"]
    assert read.headers() == ({"Host": host} if host else {})
