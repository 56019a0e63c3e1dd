"""Grafana's provisioning, and the stand-in that loads it: what it takes, what it refuses, whom it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dashboards import load_dashboards
from discovery.config import DiscoveryConfig
from planning.decide import decide
from planning.plan import Plan
from rendering.grafana_provisioning import grafana_files
from tests.builders import ROOT, finding, report_of, settings_of
from tests.unit.toolchain.images.test_stand_ins import IMAGES, Running, running

PASSWORD = "only-for-tests"
PANELS = [
    "Agent execution times",
    "MCP response rates",
    "Calls that were not made",
    "MCP response times",
    "Tokens and tool calls",
    "Memory and CPU",
    "Request throughput",
    "Error rates",
]
SOURCE, PROVIDER, DASHBOARD = (
    "provisioning/datasources/prometheus.yaml",
    "provisioning/dashboards/promptcraft.yaml",
    "dashboards/promptcraft.json",
)


def plan_of(prometheus: str) -> Plan:
    found = [finding("prometheus", endpoint=prometheus)]
    return decide(report_of(found), settings_of("production", {"GRAFANA_PASSWORD": PASSWORD}), DiscoveryConfig())


def provisioned(folder: Path, prometheus: str = "http://127.0.0.1:1") -> dict[str, str]:
    """The rendered files below `folder`; the variables that point Grafana to them."""
    for name, content in grafana_files(plan_of(prometheus), load_dashboards(ROOT)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content.replace("/run/promptcraft", str(folder)))
    (folder / "password").write_text(PASSWORD)
    return {
        "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
        "GF_SECURITY_ADMIN_PASSWORD__FILE": str(folder / "password"),
    }


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    environment = provisioned(tmp_path_factory.mktemp("grafana"))
    with running("grafana", "/api/health", environment) as server:
        yield server


def test_the_dashboard_has_its_panels_and_asks_the_prometheus_of_the_plan() -> None:
    files = grafana_files(plan_of("http://10.0.0.5:9090"), load_dashboards(ROOT))
    (source,) = json.loads(files[SOURCE])["datasources"]
    assert source["url"] == "http://10.0.0.5:9090"
    panels = json.loads(files[DASHBOARD])["panels"]
    assert [panel["title"] for panel in panels] == PANELS
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len(set(places)) == len(places)


def test_its_health_is_open_and_says_that_it_is_a_stand_in(grafana: Running) -> None:
    health = requests.get(f"{grafana.url}/api/health", timeout=5).json()
    assert (health["database"], health["stand_in"]) == ("ok", True)


def test_its_metrics_are_open(grafana: Running) -> None:
    assert "process_resident_memory_bytes" in requests.get(f"{grafana.url}/metrics", timeout=5).text


@pytest.mark.parametrize("login", [None, ("admin", "admin"), ("admin", ""), ("", PASSWORD), ("root", PASSWORD)])
@pytest.mark.parametrize("path", ["/", "/api/dashboards", "/api/panels", "/api/health/"])
def test_everything_else_is_the_administrators(path: str, login: tuple[str, str] | None, grafana: Running) -> None:
    assert requests.get(f"{grafana.url}{path}", auth=login, timeout=5).status_code == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Bearer YWRtaW46YWRtaW4=", "basic  "])
def test_a_broken_login_is_none(header: str, grafana: Running) -> None:
    answer = requests.get(f"{grafana.url}/api/panels", headers={"Authorization": header}, timeout=5)
    assert answer.status_code == 401


def test_the_administrator_sees_what_is_provisioned_and_that_its_source_is_gone(grafana: Running) -> None:
    login = ("admin", PASSWORD)
    discovery, main = requests.get(f"{grafana.url}/api/dashboards", auth=login, timeout=5).json()
    assert (main["panels"], discovery["uid"]) == (PANELS, "promptcraft-discovery")
    panels = requests.get(f"{grafana.url}/api/panels", auth=login, timeout=20).json()
    assert {panel["panel"] for panel in panels} > set(PANELS)
    assert {panel["status"] for panel in panels} == {"unreachable"}


def start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(IMAGES / "grafana" / "server.py")],
        env={**os.environ, "PORT": "0", "HOST": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        (SOURCE, '"apiVersion": 1', '"apiVersion": 2', "apiVersion must be 1"),
        (SOURCE, '"url"', '"link"', "url is missing"),
        (SOURCE, "{", "{{", "is not YAML"),
        (DASHBOARD, '"uid": "prometheus"', '"uid": "other"', "which is not provisioned"),
        (PROVIDER, '"path": "', '"path": "/nonexistent', "is not a folder"),
        (DASHBOARD, "{", "", "is not JSON"),
        (DASHBOARD, '"panels"', '"rows"', "panels must be a list"),
        (DASHBOARD, '"expr"', '"query"', "expr is missing"),
        (DASHBOARD, '"targets": [', '"targets": 1, "were": [', "must be lists"),
        (DASHBOARD, '"uid": "promptcraft"', '"uid": ""', "uid is missing"),
    ],
)
def test_what_grafana_would_refuse_is_refused(file: str, old: str, new: str, complaint: str, tmp_path: Path) -> None:
    environment = provisioned(tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new))
    ended = start(environment)
    assert ended.returncode == 2
    assert path.name in ended.stderr and complaint in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("password", ["", "\n", None])
def test_there_is_no_default_password(password: str | None, tmp_path: Path) -> None:
    environment = provisioned(tmp_path)
    if password is None:
        (tmp_path / "password").unlink()
    else:
        (tmp_path / "password").write_text(password)
    ended = start(environment)
    assert (ended.returncode, "no default password" in ended.stderr) == (2, True)
