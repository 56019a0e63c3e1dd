"""Agents of one stack with a model server, all five providers and real tools: what they call, whom it is told, what
the deaths of PAL cost, and where keys go.

The providers are one server that has all their names in the stack's network, and an authority of the operator's own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import requests
from docker.models.containers import Container
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from playwright.sync_api import expect

from catalog import PROVIDERS
from gateway.models.providers import ADDRESSES
from gateway.tests.browser import PATIENCE_MS, chromium, opened
from gateway.tests.conftest import events_of
from gateway.tests.otlp import otlp_handler
from planning.models import DEFAULTS
from tests.builders import ROOT
from tests.certificates import make_pair
from tests.chat_completions import ANSWER, SILENCE, USAGE, ChatServer, calling
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.engine.test_found_services import image_of
from tests.engine.test_zen_mcp import KILL
from tests.exposure import exposed
from tests.journeys.provider_server import REFUSED, sentence
from tests.journeys.python_index import python_index
from tests.journeys.serving import serving
from tests.waiting import until

pytestmark = pytest.mark.engine

PAGE, API, ZEN = 7860, 7862, 8000
CLOCK = "mcp-server-time==2026.10.19"
MODEL = "local:llama3.2"
TOKEN = "zen-token-of-the-journey-7c41"
HOSTS = {provider: str(urlsplit(address).hostname) for provider, address in ADDRESSES.items()}
KEYS = {provider: f"{provider}-key-of-the-journey-19d3" for provider in HOSTS}
NEW_KEY = "xai-key-that-came-later-55ae"
# As PAL calls them; it has no provider for Anthropic.
PALS = {
    "openai": "gpt-6-luna",
    "google": "gemini-3.5-flash-lite",
    "openrouter": "anthropic/claude-opus-5",
    "xai": "grok-4.7",
}
ENDED = {"succeeded", "failed", "cancelled"}


def agent(name: str, model: str, *tools: str) -> str:
    """A definition; its text is the same for all."""
    allowed = f"tools: {', '.join(tools)}\n" if tools else ""
    return f"---\nname: {name}\ndescription: Answers.\nmodel: {model}\n{allowed}---\nAnswer.\n"


AGENTS = {
    "timekeeper": agent("timekeeper", MODEL, "mcp__clock__*"),
    "consultant": agent("consultant", MODEL, "mcp__zen-mcp__chat"),
    **{f"asks-{it}": agent(f"asks-{it}", f"{it}:{DEFAULTS[it]['haiku']}") for it in HOSTS},
}
PAIR = make_pair(*HOSTS.values())


@pytest.fixture(scope="module")
def spans(private_engine: PrivateEngine) -> Iterator[tuple[str, list[ResourceSpans]]]:
    """Where traces go to, and those that came."""
    received: list[ResourceSpans] = []
    with serving(private_engine, otlp_handler(received)) as address:
        yield address.rstrip("/"), received


@pytest.fixture(scope="module")
def index(private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with python_index(private_engine, tmp_path_factory.mktemp("index"), CLOCK) as address:
        yield address


@pytest.fixture(scope="module")
def project(
    new_project: Callable[..., Project], models: ChatServer, index: str, spans: tuple[str, list[ResourceSpans]]
) -> Project:
    """A stack with a model server that was named, and a key to each provider."""
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": spans[0], "OTEL_BSP_SCHEDULE_DELAY": "200"}
    project = new_project(config={"caFile": "authorities.pem", "gateway": traces})
    (project.root / "authorities.pem").write_text(PAIR.certificate)
    for name, text in AGENTS.items():
        (project.root / f".agents/core/{name}.md").write_text(text)
    clock = project.root.parent / "home/.claude/mcp/clock.json"
    clock.parent.mkdir(parents=True)
    clock.write_text(json.dumps({"command": "uvx", "args": ["--from", CLOCK, "mcp-server-time"]}))
    clock.chmod(0o600)
    project.environment.update(OPENAI_BASE_URL=models.url, UV_DEFAULT_INDEX=index)
    assert project.operate("init").code == 0
    for provider, key in KEYS.items():
        set_secret(project, PROVIDERS[provider].secret_key, key)
    set_secret(project, "zenMcpToken", TOKEN)
    return project


def set_secret(project: Project, name: str, value: str) -> None:
    done = project.pulumi("config", "set", "--secret", name, value)
    assert done.code == 0, done.text


@pytest.fixture(scope="module")
def providers(deployed: Done, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """All providers, in the stack's network under their own names."""
    folder = tmp_path_factory.mktemp("providers")
    PAIR.write(folder)
    shutil.copy(ROOT / "tests/journeys/provider_server.py", folder)
    # For the container's user.
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    client, network = project.engine.client, f"promptcraft-{project.stack}-network"
    container = client.containers.create(
        image_of(project, "promptcraft"),
        ["python3", "/providers/provider_server.py", "/providers/tls.pem", "/providers/tls.key"],
        network=network,
        networking_config={network: client.api.create_endpoint_config(aliases=[*HOSTS.values()])},
        volumes={str(folder): {"bind": "/providers", "mode": "ro"}},
    )
    container.start()
    yield container
    container.remove(force=True)


def told(providers: Container) -> list[dict[str, Any]]:
    """The requests that reached any provider."""
    return [json.loads(line) for line in providers.logs(stderr=False).decode().splitlines()]


def run(project: Project, name: str, text: str) -> dict[str, Any]:
    """The record of a run that has ended."""
    answer = project.ask(API, f"/api/agents/{name}/runs", "POST", json={"input": text}, seconds=90)
    record: dict[str, Any] = answer.json()
    assert answer.status_code == 200 and record["status"] in ENDED, record
    return record


def record_of(project: Project, run_id: str) -> dict[str, Any]:
    record: dict[str, Any] = project.ask(API, f"/api/runs/{run_id}").json()
    return record


# --- A tool of a server of the runner ---


@pytest.fixture(scope="module")
def converted(deployed: Done, project: Project) -> list[tuple[str, dict[str, Any]]]:
    """The events of a run whose model asked the clock."""
    asked = calling(
        "mcp__clock__convert_time", source_timezone="Europe/Berlin", time="12:34", target_timezone="Pacific/Chatham"
    )
    url = f"http://127.0.0.1:{API}/api/agents/timekeeper/runs"
    headers = {"Accept": "text/event-stream"}
    post = lambda: httpx2.post(url, json={"input": asked}, headers=headers, timeout=90, trust_env=False)  # noqa: E731
    return events_of(project.inside(post))


def test_a_real_servers_tool_is_called_and_its_words_reach_the_model(
    converted: list[tuple[str, dict[str, Any]]], models: ChatServer
) -> None:
    steps = [data for name, data in converted if name == "step"]
    assert [(it["server"], it["tool"], it["outcome"]) for it in steps] == [
        ("clock", "convert_time", None),
        ("clock", "convert_time", "ok"),
    ], converted
    asked = [question.body for question in models.asked]
    offered = {tool["function"]["name"] for body in asked for tool in body.get("tools", [])}
    assert offered == {"mcp__clock__convert_time", "mcp__clock__get_current_time"}
    answered = next(body["messages"][-1] for body in asked if body["messages"][-1]["role"] == "tool")
    assert json.loads(answered["content"])["target"]["timezone"] == "Pacific/Chatham"


def test_the_call_is_in_the_record_and_on_the_page(
    converted: list[tuple[str, dict[str, Any]]], project: Project
) -> None:
    record = record_of(project, converted[-1][1]["id"])
    assert (record["status"], record["output"], record["answered_by"]) == ("succeeded", ANSWER, MODEL)
    assert [(it["server"], it["tool"], it["outcome"]) for it in record["steps"]] == [("clock", "convert_time", "ok")]
    usage = record["usage"]
    assert (usage["requests"], usage["tool_calls"], usage["input_tokens"]) == (2, 1, 2 * USAGE["prompt_tokens"])

    def shown() -> tuple[str, str]:
        with chromium() as running, opened(running, f"http://127.0.0.1:{PAGE}/") as watched:
            row = watched.page.locator("#runs tr").filter(has_text="timekeeper")
            row.get_by_role("button").click()
            steps = watched.page.locator("#steps li")
            expect(steps).to_have_count(1, timeout=PATIENCE_MS)
            return row.inner_text(), steps.inner_text()

    row, step = project.inside(shown)
    assert "14 + 6 tokens" in row and "1 tool call" in row
    assert step.startswith("clock: convert_time ok")


def test_the_call_is_in_the_figures_and_in_the_trace(
    converted: list[tuple[str, dict[str, Any]]], project: Project, spans: tuple[str, list[ResourceSpans]]
) -> None:
    figures = project.ask(API, "/metrics").text.splitlines()
    assert 'promptcraft_tool_calls_total{outcome="ok",server="clock",tool="convert_time"} 1.0' in figures
    assert f'promptcraft_tokens_total{{agent="timekeeper",direction="input",model="{MODEL}"}} 14.0' in figures

    def known() -> list[Span]:
        return [span for one in spans[1] for scope in one.scope_spans for span in scope.spans]

    def named(*words: str) -> list[Span]:
        return [span for span in known() if all(word in span.name for word in words)]

    until(lambda: bool(named("run timekeeper")) and bool(named("tools/call", "convert_time")), 30)
    assert named("run timekeeper")[0].trace_id == named("tools/call", "convert_time")[0].trace_id
    assert "Pacific/Chatham" not in str(spans[1])


# --- Keys ---


def consulted(project: Project, model: str, prompt: str) -> str:
    """What PAL itself says to who has the token."""

    async def ask() -> str:
        arguments = {"prompt": prompt, "model": model, "working_directory_absolute_path": "/tmp"}
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=90) as http,
            Client(streamable_http_client(f"http://127.0.0.1:{ZEN}/mcp", http_client=http)) as client,
        ):
            (content,) = (await client.call_tool("chat", arguments)).content
            assert isinstance(content, TextContent)
            return content.text

    return project.inside(lambda: asyncio.run(ask()))


@pytest.mark.parametrize("provider", HOSTS)
def test_a_provider_answers_at_its_own_address(provider: str, providers: Container, project: Project) -> None:
    record = run(project, f"asks-{provider}", "Who are you?")
    assert (record["status"], record["output"]) == ("succeeded", sentence(HOSTS[provider])), record
    assert record["usage"]["input_tokens"] == 7


@pytest.mark.parametrize("provider", PALS)
def test_pal_asks_a_provider_at_its_own_address(provider: str, providers: Container, project: Project) -> None:
    said = consulted(project, PALS[provider], "Who are you?")
    assert sentence(HOSTS[provider]) in said, said


@pytest.mark.parametrize("provider", HOSTS)
def test_a_provider_that_says_a_refused_key_back_is_not_quoted(
    provider: str, providers: Container, project: Project
) -> None:
    record = run(project, f"asks-{provider}", REFUSED)
    assert (record["status"], "refuses the configured key" in record["error"]) == ("failed", True), record
    health = project.ask(API, "/api/health/detailed").text
    assert PROVIDERS[provider].secret_key in health
    said = consulted(project, PALS[provider], REFUSED) if provider in PALS else ""
    assert KEYS[provider] not in json.dumps(record) + health + said
    # Until a run with it succeeds.
    assert run(project, f"asks-{provider}", "And now?")["status"] == "succeeded"
    assert PROVIDERS[provider].secret_key not in project.ask(API, "/api/health/detailed").text


def in_the_open(project: Project, *printed: str) -> list[tuple[str, str]]:
    """Where a key or the token can be read, among all that a person may look at or pass on."""
    paths = ("/api/runs", "/api/health/detailed", "/api/agents/available")
    shown = [project.ask(API, path).text for path in paths]
    return exposed(project, [*KEYS.values(), NEW_KEY, TOKEN], *printed, *shown, json.dumps(project.outputs()))


def test_no_key_stands_in_the_open(providers: Container, deployed: Done, project: Project, tmp_path: Path) -> None:
    """Not in logs either, of containers that have had every key refused."""
    backup = project.operate("backup")
    assert backup.code == 0, backup.text
    copied = [path for path in (project.root / "backups").rglob("*") if path.is_file()]
    assert len(copied) >= 3
    report = tmp_path / "snapshot.json"
    looked = project.run(".venv/bin/python", "-m", "discovery", "--stack", project.stack, "--write", str(report))
    assert looked.code == 0, looked.text
    printed = [deployed.text, backup.text, looked.text, report.read_text()]
    assert in_the_open(project, *printed, *(path.read_bytes().decode("latin-1") for path in copied)) == []


# --- PAL ends while it is asked ---


def held(project: Project, models: ChatServer, people: ThreadPoolExecutor) -> tuple[str, Future[requests.Response]]:
    """A run whose model has PAL ask a model that says nothing: its id, and what it comes to."""
    asked = calling("mcp__zen-mcp__chat", prompt=SILENCE, model="llama3.2", working_directory_absolute_path="/tmp")
    before = len(models.asked)
    path = "/api/agents/consultant/runs"
    answer = people.submit(project.ask, API, path, "POST", json={"input": asked}, seconds=180)
    # The run's model, then PAL's.
    until(lambda: len(models.asked) >= before + 2)
    (running,) = [one for one in project.ask(API, "/api/runs").json()["runs"] if one["status"] == "running"]
    return str(running["id"]), answer


def zen(project: Project) -> Container:
    return project.engine.client.containers.get(f"promptcraft-{project.stack}-zen-mcp")


def answers_again(project: Project, models: ChatServer) -> None:
    """PAL is back for agents."""

    def is_well() -> bool:
        services = project.ask(API, "/api/health/detailed").json()["services"]
        return bool(services["zen-mcp"]["status"] == "ok")

    until(is_well)
    # Another question each time: a result is kept.
    prompt = f"Are you back after {len(models.asked)} questions?"
    asked = calling("mcp__zen-mcp__chat", prompt=prompt, model="llama3.2", working_directory_absolute_path="/tmp")
    record = run(project, "consultant", asked)
    assert (record["status"], record["output"]) == ("succeeded", ANSWER), record
    assert [it["outcome"] for it in record["steps"]] == ["ok"]


def lost(project: Project, run_id: str) -> dict[str, Any]:
    """The record of a run that failed since nobody knows what became of its call."""
    record = record_of(project, run_id)
    assert record["status"] == "failed" and "may have acted" in record["error"], record
    assert [(it["server"], it["tool"], it["outcome"]) for it in record["steps"]] == [("zen-mcp", "chat", "unknown")]
    return record


@contextmanager
def people() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def test_kill_9_of_pal_ends_the_run_and_is_on_record(
    providers: Container, project: Project, models: ChatServer
) -> None:
    answers_again(project, models)
    with people() as pool:
        run_id, answer = held(project, models, pool)
        zen(project).exec_run(["sh", "-c", KILL])
        record = answer.result(timeout=60).json()
    assert lost(project, run_id)["error"] == record["error"]
    until(lambda: zen(project).attrs["RestartCount"] == 1)
    answers_again(project, models)


def test_pal_replaced_ends_the_run_and_is_on_record(providers: Container, project: Project, models: ChatServer) -> None:
    before, application = zen(project).id, application_of(project)
    mcp = project.root / ".mcp/discovery-config.yaml"
    text = mcp.read_text()
    assert "cpu_cores: 0.5" in text
    mcp.write_text(text.replace("cpu_cores: 0.5", "cpu_cores: 1.0"))
    with people() as pool:
        run_id, answer = held(project, models, pool)
        up = project.operate("up")
        assert up.code == 0, up.text
        record = answer.result(timeout=60).json()
    assert zen(project).id != before and application_of(project) == application
    assert lost(project, run_id)["error"] == record["error"]
    answers_again(project, models)


def application_of(project: Project) -> str:
    return str(project.engine.client.containers.get(f"promptcraft-{project.stack}-promptcraft").id)


def test_a_changed_key_ends_the_run_and_is_on_record(
    providers: Container, project: Project, models: ChatServer
) -> None:
    set_secret(project, PROVIDERS["xai"].secret_key, NEW_KEY)
    with people() as pool:
        run_id, answer = held(project, models, pool)
        up = project.operate("up")
        assert up.code == 0, up.text
        # The application is replaced as well, and its caller's connection with it.
        assert answer.exception(timeout=60) is not None or answer.result().json()["status"] in ENDED
    until(lambda: record_of(project, run_id)["status"] in ENDED)
    assert record_of(project, run_id)["status"] in {"failed", "cancelled"}
    answers_again(project, models)
    before = len(told(providers))
    assert run(project, "asks-xai", "With the new key?")["status"] == "succeeded"
    assert sentence(HOSTS["xai"]) in consulted(project, PALS["xai"], "With the new key?")
    now = [request["headers"]["authorization"] for request in told(providers)[before:]]
    assert now == [f"Bearer {NEW_KEY}"] * 2


# --- After all of that ---


def test_each_key_went_to_its_own_provider_only(providers: Container, project: Project, models: ChatServer) -> None:
    seen: dict[str, set[str]] = {}
    for request in told(providers):
        for key in (*KEYS.values(), NEW_KEY):
            if key in json.dumps(request):
                seen.setdefault(key, set()).add(request["host"])
    assert seen == {KEYS[it]: {HOSTS[it]} for it in HOSTS} | {NEW_KEY: {HOSTS["xai"]}}
    others = [question.text + str(question.authorization) for question in models.asked]
    assert [key for key in seen for text in others if key in text] == []


def test_the_new_key_stands_nowhere_either(providers: Container, project: Project) -> None:
    assert in_the_open(project) == []
