"""Somebody else's Prometheus and Grafana: used, not declared, and fed with what the stack says to paste there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from docker.models.containers import Container

from tests.builders import ROOT
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.engine.test_found_services import accepts
from tests.scenarios.servers import NOT_FOUND, Reply, Server, Talk, http
from tests.waiting import until

pytestmark = pytest.mark.engine

API = 7862
PASSWORD = "grafana-of-somebody-else-8d21"
ITSELF = {"job_name": "itself", "static_configs": [{"targets": ["127.0.0.1:9090"]}]}
PLACES = ("a container", "this host")


def only(path: str, body: object) -> Talk:
    """Answers `path` alone."""
    return http(lambda request: Reply(body) if request.path == path else NOT_FOUND)


IMPOSTORS = {
    "PROMETHEUS_URL": (17090, only("/-/healthy", "Prometheus Server is Healthy.\n"), "not its build information"),
    "GRAFANA_URL": (17030, only("/api/health", {"database": "ok"}), "neither its version nor its login"),
}


def test_impostors_are_refused_with_their_reasons(
    new_project: Callable[..., Project], private_engine: PrivateEngine
) -> None:
    project, address = new_project(config={"monitoring": True, "portOffset": 400}), private_engine.bridge
    servers = private_engine.namespace.run(
        lambda: [Server(talk, port, address) for port, talk, _ in IMPOSTORS.values()]
    )
    urls = {variable: f"http://{address}:{port}" for variable, (port, _, _) in IMPOSTORS.items()}
    preview = project.operate("preview", **urls)
    for server in servers:
        server.close()
    assert preview.code == 0, preview.text
    for variable, (_, _, reason) in IMPOSTORS.items():
        told = f"{variable}: {urls[variable]} is impostor: "
        line = next(line for line in preview.text.splitlines() if told in line)
        assert reason in line and "not used" in line
    # The stack's own are planned in their place: nobody else's is here yet.
    assert "http://127.0.0.1:9490" in preview.text and "http://127.0.0.1:3400" in preview.text


@dataclass
class Theirs:
    """A Prometheus and a Grafana of somebody else's, each with a folder of configuration that is theirs."""

    engine: PrivateEngine
    folder: Path
    network: str
    containers: dict[str, Container]

    @property
    def is_on_the_host(self) -> bool:
        return self.network == "host"

    @property
    def port_offset(self) -> int:
        """Of the stack that uses them: this host's own ports are theirs."""
        return 200 if self.is_on_the_host else 0

    def url(self, service: str, port: int) -> str:
        container = self.containers[service]
        container.reload()
        networks = container.attrs["NetworkSettings"]["Networks"]
        return f"http://{'127.0.0.1' if self.is_on_the_host else networks[self.network]['IPAddress']}:{port}"

    def ask(self, service: str, port: int, path: str) -> Any:
        url = f"{self.url(service, port)}{path}"
        answer = self.engine.namespace.run(lambda: requests.get(url, auth=("admin", PASSWORD), timeout=15))
        answer.raise_for_status()
        return answer.json()

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("prometheus", 9090, f"/api/v1/query?query={quote(expression)}")["data"]["result"]
        return found

    def write(self, name: str, document: object) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        for one in (path, *path.parents[: len(Path(name).parents)]):
            one.chmod(0o755 if one.is_dir() else 0o644)


@pytest.fixture(scope="module", params=PLACES)
def theirs(
    request: pytest.FixtureRequest,
    private_engine: PrivateEngine,
    new_project: Callable[..., Project],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Theirs]:
    """Both in containers of a network of their own, or both on this host's loopback.

    Gone before the projects are (`new_project`), whose networks they joined.
    """
    client, mark = private_engine.client, secrets.token_hex(4)
    name = "host" if request.param == "this host" else str(client.networks.create(f"foreign-{mark}").name)
    theirs = Theirs(private_engine, tmp_path_factory.mktemp("theirs"), name, {})
    theirs.write("prometheus.yml", {"global": {"scrape_interval": "2s"}, "scrape_configs": [ITSELF]})
    theirs.write("password", PASSWORD)
    theirs.write("provisioning/datasources/own.yaml", {"apiVersion": 1, "datasources": []})
    images = json.loads((ROOT / ".promptcraft" / "images.json").read_text())
    mounts: Any = {str(theirs.folder): {"bind": "/etc/theirs", "mode": "ro"}}
    listen = "127.0.0.1:9090" if theirs.is_on_the_host else ":9090"
    command = ["--config.file=/etc/theirs/prometheus.yml", "--storage.tsdb.path=/prometheus"]
    theirs.containers["prometheus"] = client.containers.run(
        images["prometheus"]["reference"],
        [*command, f"--web.listen-address={listen}"],
        name=f"foreign-prometheus-{mark}",
        network=name,
        volumes=mounts,
        detach=True,
    )
    variables = {
        "GF_SECURITY_ADMIN_PASSWORD__FILE": "/etc/theirs/password",
        "GF_PATHS_PROVISIONING": "/etc/theirs/provisioning",
        **({"HOST": "127.0.0.1"} if theirs.is_on_the_host else {}),
    }
    theirs.containers["grafana"] = client.containers.run(
        images["grafana"]["reference"],
        name=f"foreign-grafana-{mark}",
        network=name,
        volumes=mounts,
        environment=variables,
        detach=True,
    )
    yield theirs
    for container in theirs.containers.values():
        container.remove(force=True)


def await_both(theirs: Theirs, project: Project) -> None:
    for service, port in (("prometheus", 9090), ("grafana", 3000)):
        host = str(urlsplit(theirs.url(service, port)).hostname)
        until(partial(accepts, project, host, port), 60)


@pytest.fixture(scope="module")
def project(theirs: Theirs, new_project: Callable[..., Project]) -> Project:
    project = new_project(config={"monitoring": True, "portOffset": theirs.port_offset})
    await_both(theirs, project)
    named = {"PROMETHEUS_URL": theirs.url("prometheus", 9090), "GRAFANA_URL": theirs.url("grafana", 3000)}
    (project.root / ".env").write_text("".join(f"{name}={url}\n" for name, url in named.items()))
    return project


@pytest.fixture(scope="module")
def to_paste(deployed: Done, project: Project) -> dict[str, Any]:
    found: dict[str, Any] = project.outputs()["monitoring"]
    return found


@pytest.fixture(scope="module")
def pasted(to_paste: dict[str, Any], theirs: Theirs, project: Project) -> None:
    """All done that the output says. Grafana reads its files when it starts."""
    prometheus, grafana = theirs.containers["prometheus"], theirs.containers["grafana"]
    for name, container in theirs.containers.items():
        if "network" in to_paste[name]:
            theirs.engine.client.networks.get(to_paste[name]["network"]).connect(container)
    own = {"global": {"scrape_interval": "2s"}}
    jobs = [ITSELF, *to_paste["prometheus"]["scrapeFile"]["scrape_configs"]]
    theirs.write("prometheus.yml", {**own, "scrape_configs": jobs, "rule_files": ["/etc/theirs/rules/*.json"]})
    if "ruleFile" in to_paste["prometheus"]:
        theirs.write("rules/promptcraft.json", to_paste["prometheus"]["ruleFile"])
    told: Any = prometheus.exec_run(["promtool", "check", "config", "/etc/theirs/prometheus.yml"])
    assert told.exit_code == 0, told.output
    prometheus.kill("SIGHUP")
    theirs.write("provisioning/datasources/promptcraft.yaml", to_paste["grafana"]["datasourceFile"])
    provider = {"name": "promptcraft", "type": "file", "options": {"path": "/etc/theirs/dashboards"}}
    theirs.write("provisioning/dashboards/promptcraft.yaml", {"apiVersion": 1, "providers": [provider]})
    for path in (ROOT / "dashboards").glob("*.json"):
        theirs.write(f"dashboards/{path.name}", json.loads(path.read_text()))
    grafana.restart(timeout=1)
    await_both(theirs, project)


def test_neither_is_declared(deployed: Done, project: Project, theirs: Theirs) -> None:
    prefix = f"promptcraft-{project.stack}-"
    running = {str(one.name).removeprefix(prefix) for one in project.containers() if one.status == "running"}
    relays = {"prometheus-relay", "grafana-relay"}
    assert not running & {"prometheus", "grafana"}
    assert running & relays == (relays if theirs.is_on_the_host else set())
    plan = project.outputs()["plan"]
    for name, variable in (("prometheus", "PROMETHEUS_URL"), ("grafana", "GRAFANA_URL")):
        assert plan[name]["source"] == "external_deployment"
        assert plan[name]["reason"].startswith(f"{variable} (.env): proved to be")
    told = project.ask(API + theirs.port_offset, "/api/health/detailed")
    assert {told.json()["services"][name]["status"] for name in ("prometheus", "grafana")} == {"ok"}


def test_their_prometheus_scrapes_the_stack(
    pasted: None, to_paste: dict[str, Any], project: Project, theirs: Theirs
) -> None:
    jobs = {job["job_name"] for job in to_paste["prometheus"]["scrapeFile"]["scrape_configs"]}
    assert {"promptcraft", "qdrant", "zen-mcp"} <= jobs
    assert ("redis-exporter" in jobs) is not theirs.is_on_the_host

    def up() -> set[str]:
        return {one["metric"]["job"] for one in theirs.query("up == 1")}

    until(lambda: up() == {"itself", *jobs}, 120)
    assert theirs.query("promptcraft_agent_slots")


def test_their_prometheus_takes_the_rules(pasted: None, to_paste: dict[str, Any], theirs: Theirs) -> None:
    groups = theirs.ask("prometheus", 9090, "/api/v1/rules")["data"]["groups"]
    told = {rule["name"] for group in groups for rule in group["rules"]}
    assert ("PromptCraftReplicaMissing" in told) is not theirs.is_on_the_host


def test_a_panel_of_their_grafana_has_data(pasted: None, project: Project, theirs: Theirs) -> None:
    def panels() -> list[dict[str, Any]]:
        project.ask(API + theirs.port_offset, "/api/agents/available")
        answered: list[dict[str, Any]] = theirs.ask("grafana", 3000, "/api/panels")
        return answered

    until(lambda: any(one["panel"] == "Request throughput" and one["series"] for one in panels()), 120)
    assert {one["status"] for one in panels()} == {"success"}
    assert {one["source"] for one in panels()} == {f"PromptCraft ({project.stack})"}


def test_a_second_up_changes_nothing(pasted: None, project: Project) -> None:
    preview = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert preview.code == 0, preview.text
