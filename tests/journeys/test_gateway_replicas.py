"""Three gateways beside one Redis, each a container: limits, caching and records under load and through a death."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import httpx2
import pytest

from gateway.tests.conftest import counts
from gateway.tests.containers import Replica, Stage, stage
from gateway.tests.test_contract import METRICS, schemathesis
from tests.waiting import until

pytestmark = pytest.mark.engine

LIMITS = {"opus": 3, "sonnet": 8, "haiku": 15, "all": 10}
# What the issue allows for the slots of a replica that died.
FREED_SECONDS = 30.0
ENDED = {"succeeded", "failed", "cancelled"}


@pytest.fixture
def beside(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Stage]:
    """The MCP server takes 200 ms for an answer."""
    with stage(engine, tmp_path, delay=0.2) as built:
        yield built


def ask(replica: Replica, agent: str, text: str) -> httpx2.Response:
    url = f"{replica.api}/api/agents/{agent}/runs"
    return httpx2.post(url, json={"input": text}, timeout=180, trust_env=False)


def get(replica: Replica, path: str) -> Any:
    return httpx2.get(f"{replica.api}{path}", timeout=60, trust_env=False).json()


def test_two_hundred_runs_keep_the_limits_and_are_all_on_record(beside: Stage) -> None:
    replicas = [beside.replica(PROMPTCRAFT_QUEUE_LIMIT="200") for _ in range(3)]
    # Two in four ask for the scarcest model.
    mix = ("opus", "sonnet", "opus", "haiku")
    wanted = [(replicas[number % 3], mix[number % 4], f"question {number}") for number in range(200)]
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda one: ask(*one), wanted))
    assert Counter(answer.status_code for answer in answers) == {200: 200}
    records = [answer.json() for answer in answers]
    assert {record["status"] for record in records} == {"succeeded"}
    assert len({record["id"] for record in records}) == 200
    assert len({record["replica"] for record in records}) == 3
    found = counts(beside.mcp_url)
    assert found["calls"]["all"] == 200
    peaks = found["peaks"]
    assert all(peaks[name] <= limit for name, limit in LIMITS.items()), peaks
    # The limit was worth something: it was reached.
    assert peaks["opus"] == LIMITS["opus"]
    for number, record in enumerate(records):
        other = replicas[(number + 1) % 3]
        assert get(other, f"/api/runs/{record['id']}")["status"] == "succeeded"


def test_a_replica_killed_in_mid_run_gives_its_slots_back_and_leaves_a_record(beside: Stage) -> None:
    dying, living = beside.replica(), beside.replica()
    with ThreadPoolExecutor(6) as pool:
        lost = [pool.submit(ask, dying, "opus", f"SLOW {number}") for number in range(3)]
        until(lambda: counts(beside.mcp_url)["running"].get("opus", 0) == LIMITS["opus"], seconds=60)
        records = [one for one in get(living, "/api/runs")["runs"] if one["status"] == "running"]
        assert len(records) == 3
        waiting = [pool.submit(ask, living, "opus", f"patient {number}") for number in range(3)]
        until(lambda: get(living, "/api/health/detailed")["limits"]["queue"]["waiting"] == 3, seconds=60)
        killed = time.monotonic()
        dying.container.kill("SIGKILL")
        answers = [future.result(timeout=120) for future in waiting]
        assert time.monotonic() - killed <= FREED_SECONDS
        assert {answer.json()["status"] for answer in answers} == {"succeeded"}
        for future in lost:
            with pytest.raises(httpx2.TransportError):
                future.result(timeout=60)

    def closed() -> list[dict[str, Any]]:
        return [get(living, f"/api/runs/{record['id']}") for record in records]

    until(lambda: all(record["status"] in ENDED for record in closed()), seconds=60)
    assert {(record["status"], record["error"]) for record in closed()} == {
        ("failed", "the replica that ran it is gone")
    }


def test_equal_runs_are_made_once_repeated_ones_are_fast_and_results_are_forgotten(beside: Stage) -> None:
    replicas = [beside.replica(PROMPTCRAFT_CACHE_SECONDS="20") for _ in range(3)]
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda n: ask(replicas[n % 3], "opus", "All together").json(), range(100)))
    assert counts(beside.mcp_url)["calls"]["all"] == 1
    assert {answer["output"] for answer in answers} == {"answer to: You are opus.\n\nAll together"}
    first = ask(replicas[0], "haiku", "Twice").json()
    again = [ask(replicas[n % 3], "haiku", "Twice").json() for n in range(9)]
    assert not first["cached"] and all(one["cached"] for one in again)
    assert min(one["duration_ms"] for one in again) * 20 <= first["duration_ms"]
    assert counts(beside.mcp_url)["calls"]["haiku"] == 1
    until(lambda: ask(replicas[1], "haiku", "Twice").json()["cached"] is False, seconds=120)


def test_a_long_look_finds_no_fault_and_nothing_undocumented(beside: Stage, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(hashlib.sha256(b"open sesame").hexdigest())
    tokens.chmod(0o644)
    open_one = beside.replica()
    guarded = beside.replica(files={tokens: "/run/promptcraft/secrets/gateway-tokens"})
    document = f"{open_one.api}/openapi.json"
    schemathesis(document, open_one.api, "--max-examples", "100")
    schemathesis(document, open_one.page, "--max-examples", "50", "--exclude-path", METRICS)
    # Who has no token does not even learn which methods there are.
    schemathesis(document, guarded.api, "--max-examples", "10", "--exclude-checks", "unsupported_method")
    known = ("-H", "Authorization:Bearer open sesame", "--exclude-checks", "ignored_auth")
    schemathesis(document, guarded.api, "--max-examples", "20", *known)
