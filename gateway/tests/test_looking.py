"""What the gateway says of itself, its neighbours and its agents, asked over HTTP."""

from __future__ import annotations

import json
import socket
import sys
import time
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from gateway.tests.conftest import (
    Street,
    counting_mcp,
    free_port,
    gateway,
    plan_of,
    process,
    redis_server,
    service,
    wait_until,
    whole_street,
)


def test_both_ports_say_who_they_are(street: Street) -> None:
    for client in (street.gateway.api, street.gateway.page):
        answer = client.get("/health")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ok"
        assert answer.json()["service"] == "promptcraft"


def test_every_service_is_asked_and_shown_with_its_source(street: Street) -> None:
    found = street.gateway.api.get("/api/health/detailed").json()
    assert found["status"] == "ok", found
    services = found["services"]
    assert {name: one["status"] for name, one in services.items()} == {
        "redis": "ok",
        "qdrant": "ok",
        "zen-mcp": "ok",
        "models": "ok",
        "promptcraft": "ok",
        "grafana": "omitted",
    }
    assert services["redis"]["version"].startswith("7.")
    assert services["zen-mcp"]["version"].split(".")[0] == "11"
    for name in ("redis", "qdrant", "zen-mcp"):
        assert services[name]["source"] == "deployed"
        assert services[name]["endpoint"] == street.plan["services"][name]["endpoint"]
        assert services[name]["latency_ms"] > 0
        assert services[name]["differs"] is None
    assert "hunter2" not in str(found)


def statuses(street: Street) -> dict[str, str]:
    found = street.gateway.api.get("/api/health/detailed").json()
    return {"overall": found["status"], **{name: one["status"] for name, one in found["services"].items()}}


def test_neighbours_that_die_and_come_back_are_seen_and_degraded_is_not_down(tmp_path: Path) -> None:
    with counting_mcp(tmp_path) as (zen_url, zen), whole_street(tmp_path, zen_url) as street:

        def is_seen(name: str, status: str) -> None:
            wait_until(lambda: statuses(street)[name] == status, f"{name} is {status}")

        assert statuses(street)["overall"] == "ok"
        street.redis.kill()
        is_seen("redis", "down")
        assert statuses(street)["overall"] == "degraded"
        with redis_server(street.folder, "--requirepass", "hunter2", port=street.redis_port):
            is_seen("redis", "ok")
            street.qdrant.kill()
            is_seen("qdrant", "down")
            assert statuses(street)["overall"] == "degraded"
            wait_until(
                lambda: 'promptcraft_service_healthy{service="qdrant"} 0.0' in street.gateway.api.get("/metrics").text,
                "the metrics tell of qdrant",
            )
            zen.kill()
            is_seen("zen-mcp", "down")
            assert statuses(street)["overall"] == "degraded"
            # Then nothing is left that could answer for an agent.
            street.models.process.kill()
            is_seen("models", "down")
            assert statuses(street)["overall"] == "down"
        assert street.gateway.api.get("/health").status_code == 200
        discovery = street.gateway.api.get("/api/discovery/status").json()
        assert discovery["differs"] is True
        assert discovery["services"]["qdrant"]["differs"] == "planned as deploy, and does not answer"
        assert discovery["services"]["qdrant"]["planned"]["reason"] == "nothing was found"


def test_a_stand_in_where_the_real_service_was_planned_is_a_difference(street: Street, tmp_path: Path) -> None:
    plan = plan_of({"qdrant": service("qdrant", street.plan["services"]["qdrant"]["endpoint"])})
    with gateway(tmp_path, plan, name="other") as other:
        found = other.api.get("/api/discovery/status").json()
    assert found["services"]["qdrant"]["differs"] == "planned as the real service, and a stand-in answers"
    assert found["services"]["qdrant"]["now"]["status"] == "ok"


def test_a_wrong_password_and_an_impostor_are_named(street: Street, tmp_path: Path) -> None:
    zen = street.plan["services"]["zen-mcp"]["endpoint"]
    plan = plan_of(
        {
            "redis": service("redis", f"redis://127.0.0.1:{street.redis_port}"),
            "qdrant": service("qdrant", zen),
            "nobody": service("mcp", f"http://127.0.0.1:{free_port()}"),
            "named": service("mcp", "http://no-such-host.invalid:8000/mcp"),
            "odd": service("ftp", "ftp://127.0.0.1"),
        }
    )
    with gateway(tmp_path, plan, name="other") as other:
        services = other.api.get("/api/health/detailed").json()["services"]
    assert "password" in services["redis"]["problem"]
    assert services["qdrant"]["status"] == "down"
    assert services["nobody"]["status"] == services["named"]["status"] == "down"
    assert services["odd"]["status"] == "unknown"


def test_one_slow_neighbour_costs_no_other(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        services: dict[str, Any] = {f"slow-{n}": service("mcp", f"http://127.0.0.1:{port}") for n in range(3)}
        services["slow-redis"] = service("redis", f"redis://127.0.0.1:{port}")
        with gateway(tmp_path, plan_of(services), PROMPTCRAFT_CHECK_SECONDS="0.5") as running:
            started = time.monotonic()
            found = running.api.get("/api/health/detailed").json()["services"]
            assert time.monotonic() - started < 2
    assert {one["status"] for one in found.values()} == {"down"}


def test_agents_are_shown_with_where_they_come_from_and_why_one_cannot_run(street: Street) -> None:
    agents = {one["id"]: one for one in street.gateway.api.get("/api/agents/available").json()["agents"]}
    good = agents["ai-engineer"]
    assert good["available"] is True
    assert good["reason"] is None
    assert good["tier"] == "project_core"
    assert good["model"] == "sonnet"
    assert good["tools"] == ["Read", "Grep"]
    assert good["shadowed"] == [{"tier": "bundled_default", "path": ".agents/defaults/ai-engineer.md", "problem": None}]
    assert good["dependencies"]["qdrant"]["met"] is True
    assert agents["broken"]["reason"] == ".agents/core/broken.md: description: Field required; deploy again"
    assert agents["lonely"]["reason"] == "needs grafana, which this stack does not have"
    assert "No such file" in agents["missing"]["reason"]
    assert not any(agents[name]["available"] for name in ("broken", "lonely", "missing"))


def test_the_page_has_the_data_and_nothing_from_elsewhere(street: Street) -> None:
    page = street.gateway.page.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in ("/", "/page.css", "/page.js"):
        text = street.gateway.page.get(path).text
        assert "http://" not in text
        assert "https://" not in text
    for path in ("/api/health/detailed", "/api/discovery/status", "/api/agents/available"):
        assert street.gateway.page.get(path).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "unknown_host"),
        ({"Host": "localhost.evil.example"}, 421, "unknown_host"),
        ({"Host": ""}, 421, "unknown_host"),
        ({"Origin": "http://evil.example"}, 403, "foreign_origin"),
        ({"Origin": "null"}, 403, "foreign_origin"),
    ],
)
def test_foreign_names_and_pages_are_refused(street: Street, headers: dict[str, str], status: int, code: str) -> None:
    for client in (street.gateway.api, street.gateway.page):
        answer = client.get("/api/agents/available", headers=headers)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("host", ["localhost:7862", "promptcraft", "127.0.0.1", "[::1]:7862", "10.0.0.7:80"])
def test_own_names_need_no_configuration(street: Street, host: str) -> None:
    answer = street.gateway.api.get("/api/agents/available", headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == 200


def test_a_public_name_is_answered_once_it_is_configured(tmp_path: Path) -> None:
    with gateway(tmp_path, plan_of({}), PROMPTCRAFT_ALLOWED_HOSTS="craft.example, other.example") as running:
        assert running.api.get("/health", headers={"Host": "Craft.Example:80"}).status_code == 200
        assert running.api.get("/health", headers={"Host": "third.example"}).status_code == 421


HEADS = [("api", path) for path in ("/health", "/ready", "/api/health/detailed", "/api/runs", "/metrics", "/nowhere")]
PAGES = [("page", path) for path in ("/", "/page.js", "/health")]


@pytest.mark.parametrize(("port", "path"), [*HEADS, *PAGES])
def test_head_is_answered_like_get_without_the_body(port: str, path: str, street: Street) -> None:
    client = getattr(street.gateway, port)
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    # Anything of a body would stand before the next answer.
    assert client.get("/health").json()["status"] == "ok"


def test_head_of_a_stream_ends(street: Street) -> None:
    head = street.gateway.api.head("/api/events", headers={"X-Request-ID": "head-of-events"}, timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")

    def line() -> dict[str, Any] | None:
        lines = street.gateway.log_lines()
        return next((one for one in lines if one.get("request_id") == "head-of-events"), None)

    wait_until(lambda: line() is not None, "the stream has ended")
    found = line()
    assert found is not None
    assert (found["method"], found["route"]) == ("HEAD", "/api/events")


def test_what_is_no_request_is_refused_in_the_same_shape(street: Street) -> None:
    url = street.gateway.api.base_url
    for sent in (
        b"GARBAGE\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
    ):
        with socket.create_connection((url.host, url.port), timeout=30) as caller:
            caller.sendall(sent)
            answer = HTTPResponse(caller)
            answer.begin()
            assert answer.status == 400
            assert json.load(answer)["error"]["code"] == "bad_request"


def test_errors_have_one_shape(street: Street) -> None:
    api = street.gateway.api
    assert api.get("/nowhere").json() == {"error": {"code": "not_found", "message": "Not Found"}}
    refused = api.post("/health")
    assert refused.json()["error"]["code"] == "method_not_allowed"
    assert refused.headers["allow"] == "GET, HEAD"


def test_logs_are_json_with_the_request_id(street: Street) -> None:
    street.gateway.api.get("/api/agents/available", headers={"X-Request-ID": "test-7"})
    answer = street.gateway.api.get("/nowhere/SECRET-PATH", headers={"X-Request-ID": "bad id with spaces"})
    given = answer.headers["x-request-id"]

    def line(request: str) -> dict[str, Any] | None:
        return next((one for one in street.gateway.log_lines() if one.get("request_id") == request), None)

    # A line is written when the answer has gone out.
    wait_until(lambda: line(given) is not None, "the line of the last request")
    first, last = line("test-7"), line(given)
    assert first is not None
    assert last is not None
    assert (first["route"], first["status"], first["level"]) == ("/api/agents/available", 200, "info")
    assert (last["route"], last["status"]) == ("unmatched", 404)
    assert "SECRET" not in street.gateway.log.read_text()
    assert "bad id" not in street.gateway.log.read_text()


def test_sigterm_ends_it_cleanly_and_at_once_even_with_the_page_open(tmp_path: Path) -> None:
    with gateway(tmp_path, plan_of({})) as running, running.page.stream("GET", "/api/events") as events:
        assert next(events.iter_lines()) == "event: state"
        assert running.process.stop() == 0
        assert "graceful shutdown exceeded" not in running.log.read_text()


@pytest.mark.parametrize(
    ("plan", "environment", "message"),
    [
        (None, {}, "No such file or directory; mount the plan there"),
        ("{", {}, "document:"),
        ('{"schema_version": 2, "project": "p", "stack": "s", "services": {}}', {}, "schema_version"),
        ('{"schema_version": 1}', {}, "project"),
        (None, {"PROMPTCRAFT_API_PORT": "http"}, "PROMPTCRAFT_API_PORT"),
        (None, {"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
    ],
)
def test_what_it_cannot_start_with_is_one_clear_line(
    tmp_path: Path, plan: str | None, environment: dict[str, str], message: str
) -> None:
    plan_file = tmp_path / "plan.json"
    if plan is not None:
        plan_file.write_text(plan)
    log = tmp_path / "log"
    with process([sys.executable, "-m", "gateway"], log, PROMPTCRAFT_PLAN_FILE=str(plan_file), **environment) as ended:
        assert ended.popen.wait(timeout=30) == 2
    assert message in log.read_text()
    assert len(log.read_text().splitlines()) == 1
