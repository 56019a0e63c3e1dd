"""Qdrant's stand-in, as it is deployed: a real process on a free port, asked over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.waiting import until
from tests.warm import WarmRun, servers_python

IMAGES = Path(__file__).parents[4] / "images" / "offline"


@dataclass(frozen=True)
class Running:
    url: str
    process: subprocess.Popen[bytes] | WarmRun

    def resident_mib(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(image: str, health: str, environment: dict[str, str], *, cold: bool = False) -> Iterator[Running]:
    """The server of an image as a process; `cold` where its own memory matters."""
    port = free_port()
    file = str(IMAGES / image / "server.py")
    variables = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), **environment}
    with Path(os.devnull).open("wb") as nowhere:
        process: subprocess.Popen[bytes] | WarmRun = (
            subprocess.Popen([sys.executable, file], env=variables, stdout=nowhere, stderr=nowhere)
            if cold
            else servers_python().start([file], variables, nowhere, nowhere)
        )
    server = Running(f"http://127.0.0.1:{port}", process)

    def answers() -> bool:
        assert process.poll() is None, f"{image} ended with {process.returncode}"
        return _answers(server.url + health)

    try:
        until(answers)
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).status_code == 200
    except requests.ConnectionError:
        return False


def figures_of(server: Running) -> dict[str, float]:
    """Value by series of what a server tells Prometheus."""
    text = requests.get(f"{server.url}/metrics", timeout=5).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


@pytest.fixture
def qdrant(tmp_path: Path) -> Iterator[Running]:
    environment = {"QDRANT_STORAGE": str(tmp_path / "storage"), "QDRANT_API_KEY_FILE": str(tmp_path / "none")}
    with running("qdrant", "/readyz", environment) as server:
        yield server


def call(server: Running, method: str, path: str, body: Any = None) -> Any:
    answer = requests.request(method, server.url + path, json=body, timeout=5)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["status"] == "ok"
    assert document["time"] >= 0
    return document["result"]


def refused(server: Running, method: str, path: str, body: Any = None) -> tuple[int, str]:
    answer = requests.request(method, server.url + path, json=body, timeout=5)
    return answer.status_code, answer.json()["status"]["error"]


UUID_ID = "0f8a9b1e-3c7d-4e7a-9d55-0c7a1f2b3c4d"
RUNS: dict[str, Any] = {
    "points": [
        {"id": 1, "vector": [1, 0, 0, 0], "payload": {"agent": "a", "created": 100}},
        {"id": UUID_ID, "vector": [0, 1, 0, 0], "payload": {"agent": "b", "created": 200}},
        {"id": 3, "vector": [0.9, 0.1, 0, 0], "payload": {"agent": "a", "created": 300}},
    ]
}


def make_collection(server: Running) -> None:
    assert call(server, "PUT", "/collections/runs", {"vectors": {"size": 4, "distance": "Cosine"}}) is True
    done = call(server, "PUT", "/collections/runs/points?wait=true", RUNS)
    assert done["status"] == "completed"


def test_qdrant_says_who_it_is_the_way_qdrant_does(qdrant: Running) -> None:
    who = requests.get(f"{qdrant.url}/", timeout=2).json()
    assert who["title"] == "qdrant - vector search engine"
    assert who["stand_in"] is True
    assert requests.get(f"{qdrant.url}/healthz", timeout=2).text == "healthz check passed"
    assert requests.get(f"{qdrant.url}/readyz", timeout=2).text == "all shards are ready"
    assert requests.get(f"{qdrant.url}/livez", timeout=2).status_code == 200


def test_qdrant_tells_figures_under_qdrants_names(qdrant: Running) -> None:
    figures = figures_of(qdrant)
    assert figures['app_info{name="qdrant",version="0.9.0"}'] == 1
    assert figures["collections_total"] == len(
        requests.get(f"{qdrant.url}/collections", timeout=5).json()["result"]["collections"]
    )
    assert figures["memory_resident_bytes"] / 2**20 == pytest.approx(qdrant.resident_mib(), rel=0.2)


def test_points_are_found_by_likeness_filter_and_id(qdrant: Running) -> None:
    make_collection(qdrant)
    nearest = {"query": [1, 0.05, 0, 0], "limit": 2, "with_payload": True}
    found = call(qdrant, "POST", "/collections/runs/points/query", nearest)["points"]
    assert [point["id"] for point in found] == [1, 3]
    assert found[0]["score"] > found[1]["score"] > 0.9
    assert found[0]["payload"] == {"agent": "a", "created": 100}

    search = {"vector": [1, 0, 0, 0], "limit": 5, "filter": {"must_not": [{"key": "agent", "match": {"value": "a"}}]}}
    assert [hit["id"] for hit in call(qdrant, "POST", "/collections/runs/points/search", search)] == [UUID_ID]

    recent = {"filter": {"must": [{"key": "created", "range": {"gte": 200}}]}}
    assert call(qdrant, "POST", "/collections/runs/points/count", recent) == {"count": 2}
    by_ids = call(qdrant, "POST", "/collections/runs/points", {"ids": [3, 77]})
    assert [point["id"] for point in by_ids] == [3]
    assert call(qdrant, "GET", f"/collections/runs/points/{UUID_ID}")["payload"]["agent"] == "b"


def test_scrolling_visits_every_point_once(qdrant: Running) -> None:
    make_collection(qdrant)
    seen: list[Any] = []
    offset = None
    for _ in range(len(RUNS["points"])):
        page = call(qdrant, "POST", "/collections/runs/points/scroll", {"limit": 1, "offset": offset})
        seen += [point["id"] for point in page["points"]]
        offset = page["next_page_offset"]
    assert offset is None
    assert sorted(map(str, seen)) == sorted(["1", "3", UUID_ID])


def test_points_and_collections_can_be_deleted(qdrant: Running) -> None:
    make_collection(qdrant)
    call(qdrant, "POST", "/collections/runs/points/delete?wait=true", {"points": [1]})
    by_filter = {"filter": {"must": [{"key": "agent", "match": {"value": "b"}}]}}
    call(qdrant, "POST", "/collections/runs/points/delete?wait=true", by_filter)
    assert call(qdrant, "POST", "/collections/runs/points/count", {}) == {"count": 1}
    assert call(qdrant, "DELETE", "/collections/runs") is True
    assert call(qdrant, "DELETE", "/collections/runs") is False
    assert call(qdrant, "GET", "/collections") == {"collections": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/collections/none", None, 404, "Not found: Collection `none` doesn't exist!"),
        ("GET", "/collections/runs/points/9", None, 404, "Not found: Point with id 9 does not exists!"),
        ("PUT", "/collections/runs", {"vectors": {"size": 4, "distance": "Dot"}}, 409, "already exists!"),
        ("PUT", "/collections/x", {"vectors": {"size": 0, "distance": "Dot"}}, 400, "size"),
        ("PUT", "/collections/x", {"vectors": {"size": 4, "distance": "Odd"}}, 400, "distance"),
        ("PUT", "/collections/a%20b", {"vectors": {"size": 4, "distance": "Dot"}}, 400, "name"),
        ("PUT", "/collections/runs/points", {"points": [{"id": 9, "vector": [1, 0]}]}, 400, "expected dim: 4, got 2"),
        ("PUT", "/collections/runs/points", {"points": [{"id": -1, "vector": [1, 0, 0, 0]}]}, 400, "point ID"),
        ("PUT", "/collections/runs/points", {"points": [7]}, 400, "object"),
        ("POST", "/collections/runs/points/search", {"vector": ["a"], "limit": 1}, 400, "Wrong input"),
        ("POST", "/collections/runs/points/search", {"vector": [1, 0, 0, 0], "limit": 0}, 400, "limit"),
        ("POST", "/collections/runs/points/count", {"filter": {"must": [{"geo": 1}]}}, 400, "not supported"),
        ("POST", "/collections/runs/points/count", ["a list"], 400, "expected an object"),
    ],
)
def test_what_qdrant_would_refuse_is_refused_in_its_envelope(
    qdrant: Running, method: str, path: str, body: Any, status: int, message: str
) -> None:
    make_collection(qdrant)
    answered, error = refused(qdrant, method, path, body)
    assert answered == status
    assert message in error
    assert call(qdrant, "POST", "/collections/runs/points/count", {}) == {"count": 3}


def test_a_path_that_is_not_served_is_a_plain_404(qdrant: Running) -> None:
    assert requests.get(f"{qdrant.url}/telemetry", timeout=2).status_code == 404
    assert requests.put(f"{qdrant.url}/collections/..%2Fescape", json={}, timeout=2).status_code == 404


def test_an_acknowledged_write_survives_a_kill(tmp_path: Path) -> None:
    environment = {"QDRANT_STORAGE": str(tmp_path), "QDRANT_API_KEY_FILE": str(tmp_path / "none")}
    with running("qdrant", "/readyz", environment) as first:
        make_collection(first)
        refused(first, "PUT", "/collections/runs/points", {"points": [{"id": 9, "vector": [1]}]})
        first.process.kill()
        first.process.wait()
    (tmp_path / "stand-in" / ".creating-half").mkdir()
    with running("qdrant", "/readyz", environment) as second:
        assert call(second, "GET", "/collections") == {"collections": [{"name": "runs"}]}
        assert call(second, "POST", "/collections/runs/points/count", {}) == {"count": 3}
        params = call(second, "GET", "/collections/runs")["config"]["params"]
        assert params == {"vectors": {"size": 4, "distance": "Cosine"}}


def test_the_api_key_is_asked_for_where_qdrant_asks_for_it(tmp_path: Path) -> None:
    key_file = tmp_path / "qdrant"
    key_file.write_text("s3cret\n")
    environment = {"QDRANT_STORAGE": str(tmp_path / "storage"), "QDRANT_API_KEY_FILE": str(key_file)}
    with running("qdrant", "/readyz", environment) as server:
        for path in ("/", "/healthz", "/readyz", "/livez"):
            assert requests.get(server.url + path, timeout=2).status_code == 200
        url = f"{server.url}/collections"
        assert requests.get(url, timeout=2).status_code == 401
        assert requests.get(url, headers={"api-key": "wrong"}, timeout=2).status_code == 401
        assert requests.get(url, headers={"api-key": "s3cret"}, timeout=2).status_code == 200
        assert requests.get(url, headers={"Authorization": "Bearer s3cret"}, timeout=2).status_code == 200


def test_it_is_small_and_ends_cleanly(tmp_path: Path) -> None:
    environment = {"QDRANT_STORAGE": str(tmp_path), "QDRANT_API_KEY_FILE": str(tmp_path / "none")}
    with running("qdrant", "/readyz", environment, cold=True) as server:
        assert server.resident_mib() < 100
        assert ended(server, signal.SIGTERM) == -signal.SIGTERM


def ended(server: Running, number: signal.Signals) -> int:
    server.process.send_signal(number)
    return server.process.wait(timeout=5)
