"""What the operator writes down and what can't be meant: refused with a reason, from the variable to the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from discovery.config import DiscoveryConfig
from discovery.look import look
from discovery.probes import PROBES
from errors import ConfigError
from planning.decide import decide
from planning.plan import Plan
from tests.builders import settings_of
from tests.unit.asking import request_in

ENVIRONMENT = [probe for probe in PROBES if probe.name == "environment"]
CONFIG = DiscoveryConfig()


def plan_with(folder: Path, environment: dict[str, str], **config: object) -> Plan:
    request = replace(request_in(folder), environment=environment)
    report = look(request, CONFIG, probes=ENVIRONMENT)
    settings = settings_of("dev", environment)
    return decide(report, replace(settings, config=settings.config.model_copy(update=config)), CONFIG)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("ZEN_MCP_URL", "file:///etc/passwd", "has the wrong scheme; it must start with http:// or https://"),
        ("ZEN_MCP_URL", "gopher://10.0.0.5:70/", "has the wrong scheme"),
        ("ZEN_MCP_URL", "http://169.254.169.254/latest/meta-data", "link-local or metadata address"),
        ("ZEN_MCP_URL", "http://[fe80::1]:8000/mcp", "link-local or metadata address"),
        ("ZEN_MCP_URL", "http://[::ffff:169.254.169.254]:8000/mcp", "link-local or metadata address"),
        ("ZEN_MCP_URL", "http://user:hunter2@10.0.0.5:8000/mcp", "carries a user name or password"),
        ("ZEN_MCP_URL", "http://10.0.0.5:8000/mcp?key=hunter2", "carries a query or fragment"),
        ("ZEN_MCP_URL", "http://10.0.0.5:80000/mcp", "has a port that is not a number from 1 to 65535"),
        ("QDRANT_HOST", "169.254.169.254", "link-local or metadata address"),
        ("QDRANT_HOST", "a;b", "has a host that is neither a name nor an address"),
        ("REDIS_URL", "http://10.0.0.5:6379", "has the wrong scheme"),
        ("PROMETHEUS_URL", "file:///etc/shadow", "has the wrong scheme"),
        ("GRAFANA_URL", "javascript:alert(1)", "is not a URL"),
    ],
)
def test_an_address_that_cannot_be_meant_is_an_error_that_names_it(
    variable: str, value: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        plan_with(
            tmp_path, {variable: value, "GRAFANA_PASSWORD": "only-for-tests"}, monitoring=True, memory_budget_mb=4096
        )
    (line,) = str(raised.value).splitlines()
    assert f"{variable}: " in line and reason in line
    assert "hunter2" not in line


@pytest.mark.parametrize("fallback", [True, False])
def test_a_host_that_resolves_to_nothing_is_said_and_missed(fallback: bool, tmp_path: Path) -> None:
    environment = {"ZEN_MCP_URL": "http://nowhere.invalid:8000/mcp"}
    expected = {"expected_outside": ["zen-mcp"], "fallback": fallback}
    if fallback:
        said = "\n".join(plan_with(tmp_path, environment, **expected).notices)
    else:
        with pytest.raises(ConfigError) as raised:
            plan_with(tmp_path, environment, **expected)
        said = str(raised.value)
    assert "ZEN_MCP_URL" in said and "nowhere.invalid" in said and "is unreachable: " in said
