"""Production's shape under load: a replica is killed and nobody notices but the monitoring, whose figures are true.

It has the access rules of development: without tokens, production runs no agents.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest
from docker.models.containers import Container

from bench.load import Driven, Request, drive
from tests.builders import ROOT
from tests.chat_completions import ChatServer, calling
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.journeys.attacked import name_servers
from tests.scenarios.sdk_servers import SdkServer
from tests.waiting import until

pytestmark = pytest.mark.engine

NGINX, PROMETHEUS = 80, 9090
REPLICAS = 3
RATE, SECONDS = 200, 60
SHAPE = {"replicas": REPLICAS, "loadBalancer": True, "monitoring": True, "memoryBudgetMb": 4096, "diskBudgetGb": 20}
AVAILABLE, RUN, MISSING = "/api/agents/available", "/api/agents/{agent}/runs", "/api/runs/{run}"
PANELS = {panel["title"]: panel for panel in json.loads((ROOT / "dashboards/promptcraft.json").read_text())["panels"]}
ALERT = 'ALERTS{alertname="PromptCraftReplicaDown",alertstate="firing"}'


AGENT = """---
name: noter
description: Keeps notes.
model: haiku
tools: mcp__team-notes__note
---
Keep it.
"""


def note(text: str) -> str:
    """Keeps a note."""
    return f"kept: {text}"


@pytest.fixture(scope="module")
def notes(private_engine: PrivateEngine) -> Iterator[SdkServer]:
    address = private_engine.bridge
    server = private_engine.namespace.run(lambda: SdkServer("team-notes", 0, host=address, tools=(note,)))
    yield server
    server.close()


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], models: ChatServer, notes: SdkServer) -> Project:
    """The stack, previewed before it has a password, then deployed with one that is generated.

    One of its agents has a model and a tool, each somebody else's.
    """
    project = new_project(config=SHAPE)
    name_servers(project, {"team-notes": {"type": "http", "url": f"http://{project.engine.bridge}:{notes.port}/mcp"}})
    (project.root / ".agents/core/noter.md").write_text(AGENT)
    project.environment.update(GRAFANA_PASSWORD="", OPENAI_BASE_URL=models.url)
    preview = project.operate("preview")
    assert preview.code == 0 and "`make up` generates one" in preview.text, preview.text
    assert "secure" not in project.own_file.read_text()
    up = project.operate("up")
    assert up.code == 0, up.text
    return project


def queries(panel: str) -> list[str]:
    return [target["expr"] for target in PANELS[panel]["targets"]]


def ask(project: Project, query: str) -> list[dict[str, Any]]:
    """The series of an instant query."""
    document = project.ask(PROMETHEUS, f"/api/v1/query?{urlencode({'query': query})}").json()
    assert document["status"] == "success", document
    series: list[dict[str, Any]] = document["data"]["result"]
    return series


def over_time(project: Project, query: str, driven: Driven, step: int = 5) -> list[tuple[float, float]]:
    """Time and value of a range query, all series added up, from before the load until a rate has forgotten it."""
    arguments = {"query": f"sum({query})", "start": driven.started - 10, "end": driven.ended + 75, "step": step}
    document = project.ask(PROMETHEUS, f"/api/v1/query_range?{urlencode(arguments)}").json()
    assert document["status"] == "success", document
    return [(float(at), float(value)) for series in document["data"]["result"] for at, value in series["values"]]


def counted(project: Project, rate: str, driven: Driven) -> float:
    """How many events a rate tells of: its integral."""
    until(lambda: time.time() > driven.ended + 75, seconds=120)
    return sum(value for _, value in over_time(project, rate, driven)) * 5


def answering(project: Project) -> int:
    return len(ask(project, 'up{job="promptcraft"} == 1'))


def warm_up(project: Project, requests: Callable[[int], Request], count: int, rate: float, *series: str) -> None:
    """Send some until each replica's counters are there, then wait until rates over a minute have forgotten them.

    A counter is not seen to begin, only to grow; and one that is close to nothing is not extrapolated.
    """

    def known(one: str) -> bool:
        return len({found["metric"]["instance"] for found in ask(project, one)}) == REPLICAS

    def all_known() -> bool:
        project.inside(lambda: drive(NGINX, requests, count, rate))
        return all(map(known, series))

    until(all_known, seconds=120)
    quiet = f'sum(rate(promptcraft_http_requests_total{{route="{AVAILABLE}"}}[1m])) == 0'
    until(lambda: bool(ask(project, quiet)), seconds=120)


def kill(replica: Container, before: int) -> int:
    """Kill the replica's first process, as the kernel would, where it is another one than `before`; its id."""
    replica.reload()
    pid = int(replica.attrs["State"]["Pid"])
    if pid not in (0, before):
        os.kill(pid, signal.SIGKILL)
        return pid
    return before


@pytest.fixture(scope="module")
def loaded(project: Project, private_engine: PrivateEngine) -> Iterator[Driven]:
    """60 s of requests, in the middle of which a replica dies and stays away until Prometheus has seen it."""

    def available(number: int) -> Request:
        return Request("available", AVAILABLE)

    warm_up(project, available, 2000, RATE, f'promptcraft_http_requests_total{{route="{AVAILABLE}"}}')
    until(lambda: answering(project) == REPLICAS and not ask(project, ALERT), seconds=180)
    replica = private_engine.client.containers.get(f"promptcraft-{project.stack}-promptcraft-2")
    with ThreadPoolExecutor(1) as background:
        load = background.submit(project.inside, lambda: drive(NGINX, available, RATE * SECONDS, RATE))
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 15)
        killed = 0

        def seen_down() -> bool:
            nonlocal killed
            killed = kill(replica, killed)
            return answering(project) == REPLICAS - 1

        until(seen_down, seconds=40)
        until(lambda: answering(project) == REPLICAS, seconds=90)
        yield load.result()


def test_nobody_notices_a_replica_that_dies(loaded: Driven) -> None:
    print(f"{loaded.sent} requests in {loaded.ended - loaded.started:.1f} s: {dict(loaded.answers)}")  # noqa: T201
    assert loaded.failures == []
    assert loaded.answers == {("available", 200): RATE * SECONDS}
    # Two idle cores take 61 s. A machine that is busy with other things takes longer, which is not the stack's doing.
    assert loaded.ended - loaded.started < SECONDS * 2


def test_the_alert_fires_and_resolves(loaded: Driven, project: Project) -> None:
    def fired() -> bool:
        return any(value > 0 for _, value in over_time(project, ALERT, loaded))

    until(fired, seconds=60)
    until(lambda: not ask(project, ALERT), seconds=240)


def test_what_nginx_took_in_is_what_was_sent(loaded: Driven, project: Project) -> None:
    assert counted(project, queries("Request throughput")[0], loaded) == pytest.approx(loaded.sent, rel=0.05)


def mixed(number: int) -> Request:
    """An agent's run, a run that is not there, and two who only look."""
    if number % 4 == 0:
        headers = {"Content-Type": "application/json"}
        # Each another one: a result is kept.
        body = json.dumps({"input": f"{calling('mcp__team-notes__note', text='one')} {time.time()} {number}"})
        return Request("run", "/api/agents/noter/runs", "POST", body, headers)
    if number % 4 == 1:
        return Request("missing", f"/api/runs/{number:032x}")
    return Request("available", AVAILABLE)


@pytest.fixture(scope="module")
def mixture(project: Project, loaded: Driven) -> Driven:
    warm_up(
        project,
        mixed,
        80,
        20,
        f'promptcraft_http_requests_total{{route="{AVAILABLE}"}}',
        f'promptcraft_http_requests_total{{route="{MISSING}",status="404"}}',
        'promptcraft_agent_run_seconds_count{outcome="succeeded"}',
    )
    return project.inside(lambda: drive(NGINX, mixed, 20 * 40, 20))


def test_everybody_got_the_expected_answer(mixture: Driven) -> None:
    assert mixture.failures == []
    assert mixture.answers == {("run", 200): 200, ("missing", 404): 200, ("available", 200): 400}


@pytest.mark.parametrize(
    ("rate", "share"),
    [
        (queries("Agent execution times")[-1], 0.25),
        (queries("MCP response rates")[0], 0.25),
        (queries("MCP response rates")[1], 0.25),
        (
            f"({queries('Request throughput')[2]}) "
            f'and on (route) promptcraft_http_requests_total{{route="{AVAILABLE}"}}',
            0.5,
        ),
        (
            f"({queries('Error rates')[1]}) * on (instance) sum by (instance) "
            "(rate(promptcraft_http_requests_total[1m]))",
            0.25,
        ),
    ],
)
def test_the_panels_tell_of_the_traffic_that_was(rate: str, share: float, mixture: Driven, project: Project) -> None:
    assert counted(project, rate, mixture) == pytest.approx(mixture.sent * share, rel=0.05)


def test_every_query_of_every_panel_has_data(mixture: Driven, project: Project) -> None:
    def empty() -> list[str]:
        found = [(title, query) for title in PANELS for query in queries(title)]
        return [f"{title}: {query}" for title, query in found if not over_time(project, query, mixture)]

    assert empty() == []


def test_another_replica_is_scraped_without_a_change_of_configuration(
    loaded: Driven, project: Project, private_engine: PrivateEngine
) -> None:
    engine = private_engine.client
    first = engine.containers.get(f"promptcraft-{project.stack}-promptcraft-1")
    image = str(first.attrs["Config"]["Image"])
    another = engine.containers.create(
        image, ["python3", "-m", "http.server", "7862"], network_mode="none", labels=dict(first.labels)
    )
    try:
        engine.networks.get("none").disconnect(another)
        engine.networks.get(f"promptcraft-{project.stack}-network").connect(another, aliases=["promptcraft"])
        another.start()
        until(lambda: len(ask(project, 'up{job="promptcraft"}')) == REPLICAS + 1, seconds=60)
    finally:
        another.remove(force=True)


def test_a_changed_password_is_grafanas_and_replaces_nothing_else(loaded: Driven, project: Project) -> None:
    def running() -> dict[str, str]:
        return {str(one.name): str(one.id) for one in project.containers() if one.status == "running"}

    before, old = running(), project.pulumi("config", "get", "grafanaPassword").text.strip()
    new = f"{old}-changed"
    changed = project.pulumi("config", "set", "--secret", "grafanaPassword", new)
    assert changed.code == 0, changed.text
    up = project.operate("up")
    assert up.code == 0, up.text
    assert [status(project, password) for password in (old, new)] == [401, 200]
    after = running()
    assert {name for name in after if after[name] != before[name]} == {f"promptcraft-{project.stack}-grafana"}


def status(project: Project, password: str) -> int:
    login = base64.b64encode(f"admin:{password}".encode()).decode()
    return project.ask(3000, "/api/dashboards", headers={"Authorization": f"Basic {login}"}).status_code
