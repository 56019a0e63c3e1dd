"""The stack output `monitoring`: what goes into a Prometheus or Grafana that is not the stack's own."""

from __future__ import annotations

from typing import Any

from catalog import SERVICES
from decide import decide
from discovery.config import DiscoveryConfig
from discovery.report import Finding, Reach, Vantage
from rendering.monitoring_to_paste import monitoring_to_paste
from tests.builders import finding, report_of, settings_of

NETWORK = "promptcraft-production-network"


def to_paste(*found: Finding) -> dict[str, Any]:
    settings = settings_of("production", {"GRAFANA_PASSWORD": "only-for-tests"}, port_offset=100)
    return monitoring_to_paste(decide(report_of(found), settings, DiscoveryConfig()))


def in_a_container(service: str) -> Finding:
    port = SERVICES[service].port
    return finding(service, reach=Reach(Vantage.CONTAINER_NETWORK, "theirs", f"http://their-{service}:{port}"))


def test_a_stack_with_its_own_gives_nothing() -> None:
    assert to_paste() == {}


def test_a_prometheus_on_the_host_gets_what_is_published_there() -> None:
    given = to_paste(finding("prometheus"))
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in given.pop("scrapeConfigs")}
    assert targets == {
        "promptcraft": ["127.0.0.1:7962"],
        "zen-mcp": ["127.0.0.1:8100"],
        "qdrant": ["127.0.0.1:6433"],
        "grafana": ["127.0.0.1:3100"],
    }
    assert given == {}


def test_a_prometheus_in_a_container_gets_every_replica_the_exporters_and_the_rules() -> None:
    given = to_paste(in_a_container("prometheus"))
    names = [job["dns_sd_configs"][0]["names"] for job in given["scrapeConfigs"]]
    assert ["promptcraft"] in names and ["redis-exporter"] in names
    assert given["network"] == NETWORK
    assert "PromptCraftReplicaMissing" in str(given["ruleGroups"])


def test_a_grafana_gets_the_data_source_as_it_reaches_it() -> None:
    def url(given: dict[str, Any]) -> str:
        return str(given["datasources"]["datasources"][0]["url"])

    assert url(to_paste(finding("grafana"))) == "http://127.0.0.1:9190"
    inside = to_paste(in_a_container("grafana"))
    assert (url(inside), inside["network"]) == ("http://prometheus:9090", NETWORK)
    assert url(to_paste(finding("grafana"), finding("prometheus"))) == "http://10.0.0.5/prometheus"
