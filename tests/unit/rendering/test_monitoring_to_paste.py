"""The stack output `monitoring`: what goes into a Prometheus or Grafana that is not the stack's own."""

from __future__ import annotations

from typing import Any

import pytest

from catalog import SERVICES
from discovery.config import DiscoveryConfig
from discovery.report import Finding, Reach, Vantage
from planning.decide import decide
from rendering.monitoring_to_paste import monitoring_to_paste
from tests.builders import finding, report_of, settings_of

NETWORK = "promptcraft-production-network"


def to_paste(*found: Finding) -> dict[str, Any]:
    settings = settings_of("production", {"GRAFANA_PASSWORD": "only-for-tests"}, port_offset=100)
    return monitoring_to_paste(decide(report_of(found), settings, DiscoveryConfig()))


def in_a_container(service: str) -> Finding:
    port = SERVICES[service].port
    return finding(service, reach=Reach(Vantage.CONTAINER_NETWORK, "theirs", f"http://their-{service}:{port}"))


def on_this_host(service: str) -> Finding:
    port = SERVICES[service].port
    return finding(service, endpoint=f"http://127.0.0.1:{port}", reach=Reach(Vantage.HOST_LOOPBACK))


def test_a_stack_with_its_own_gives_nothing() -> None:
    assert to_paste() == {}


@pytest.mark.parametrize("found", [finding("prometheus"), on_this_host("prometheus")])
def test_a_prometheus_on_the_host_gets_what_is_published_there(found: Finding) -> None:
    given = to_paste(found)["prometheus"]
    jobs = given["scrapeFile"]["scrape_configs"]
    assert {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs} == {
        "promptcraft": ["127.0.0.1:7962"],
        "zen-mcp": ["127.0.0.1:8100"],
        "qdrant": ["127.0.0.1:6433"],
        "grafana": ["127.0.0.1:3100"],
    }
    assert "this host" in given["note"] and "network" not in given


def test_a_prometheus_in_a_container_gets_every_replica_the_exporters_and_the_rules() -> None:
    given = to_paste(in_a_container("prometheus"))["prometheus"]
    names = [job["dns_sd_configs"][0]["names"] for job in given["scrapeFile"]["scrape_configs"]]
    assert ["promptcraft"] in names and ["redis-exporter"] in names
    assert given["network"] == NETWORK and NETWORK in given["note"]
    assert "PromptCraftReplicaMissing" in str(given["ruleFile"])


@pytest.mark.parametrize(
    ("found", "url"),
    [
        ((finding("grafana"),), "http://127.0.0.1:9190"),
        ((on_this_host("grafana"),), "http://127.0.0.1:9190"),
        ((in_a_container("grafana"),), "http://prometheus:9090"),
        ((finding("grafana"), finding("prometheus")), "http://10.0.0.5/prometheus"),
        ((on_this_host("grafana"), on_this_host("prometheus")), "http://127.0.0.1:9090"),
        ((on_this_host("grafana"), in_a_container("prometheus")), "http://10.0.0.5/prometheus"),
        ((in_a_container("grafana"), in_a_container("prometheus")), "http://their-prometheus:9090"),
    ],
)
def test_a_grafana_gets_the_data_source_as_it_reaches_it(found: tuple[Finding, ...], url: str) -> None:
    (source,) = to_paste(*found)["grafana"]["datasourceFile"]["datasources"]
    assert source["url"] == url


def test_a_grafana_in_a_container_cannot_use_a_prometheus_on_the_loopback() -> None:
    given = to_paste(in_a_container("grafana"), on_this_host("prometheus"))["grafana"]
    assert list(given) == ["note"] and "loopback" in given["note"]


def test_what_is_pasted_takes_no_place_of_what_a_grafana_has() -> None:
    (source,) = to_paste(finding("grafana"))["grafana"]["datasourceFile"]["datasources"]
    assert (source["name"], source["isDefault"]) == ("PromptCraft (production)", False)


def test_each_is_told_of_its_own_place() -> None:
    given = to_paste(in_a_container("prometheus"), on_this_host("grafana"))
    assert given["prometheus"]["network"] == NETWORK and "network" not in given["grafana"]
