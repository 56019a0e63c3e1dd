"""The OpenAPI document kept to its word: Schemathesis asks the running container whatever the document allows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx2
import pytest

from gateway.tests.containers import Replica, Stage, stage

pytestmark = pytest.mark.engine

# It never ends, so it is asked apart.
ENDLESS = "/api/events"
# Only the API's port has it.
METRICS = "/metrics"


@pytest.fixture(scope="module")
def shipped(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(engine, tmp_path_factory.mktemp("contract")) as built:
        yield built


@pytest.fixture(scope="module")
def replica(shipped: Stage) -> Replica:
    return shipped.replica()


def schemathesis(document: str, base: str, *options: str) -> str:
    """What it printed after asking `base` all operations of `document`, with every check that it has."""
    program = Path(sys.executable).with_name("schemathesis")
    config = Path(__file__).with_name("schemathesis.toml")
    command = [
        str(program),
        "--config-file",
        str(config),
        "run",
        document,
        "--url",
        base,
        "--checks",
        "all",
        "--exclude-path",
        ENDLESS,
    ]
    done = subprocess.run([*command, "--no-color", *options], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_small_at_rest(replica: Replica) -> None:
    assert replica.resident_mib() <= 120


def test_no_answer_is_a_fault_or_undocumented(replica: Replica) -> None:
    document = f"{replica.api}/openapi.json"
    said = schemathesis(document, replica.api, "--max-examples", "8", "--seed", "1")
    # It follows the document's links, so that runs are asked for that exist.
    followed = re.search(r"API Links: +(\d+) covered", said)
    assert followed is not None and int(followed[1]) >= 3, said
    page = ("--phases", "coverage", "--max-examples", "4", "--seed", "1", "--exclude-path", METRICS)
    schemathesis(document, replica.page, *page)


def test_the_streams_are_what_the_document_says(replica: Replica) -> None:
    paths = httpx2.get(f"{replica.api}/openapi.json", trust_env=False, verify=False).json()["paths"]
    for base in (replica.api, replica.page):
        with httpx2.stream("GET", f"{base}{ENDLESS}", timeout=60, trust_env=False, verify=False) as answer:
            assert answer.status_code == 200
            kind = answer.headers["content-type"].partition(";")[0]
            assert kind in paths[ENDLESS]["get"]["responses"]["200"]["content"]
            name, data = (line.partition(": ")[2] for _, line in zip(range(2), answer.iter_lines(), strict=False))
        assert name == "state"
        assert json.loads(data)["health"]["status"] == "ok"
        assert httpx2.post(f"{base}{ENDLESS}", trust_env=False, verify=False).status_code == 405
    run = "/api/agents/{agent}/runs"
    with httpx2.Client(base_url=replica.api, timeout=60, trust_env=False, verify=False) as client:
        accept = {"Accept": "text/event-stream"}
        answer = client.post("/api/agents/opus/runs", json={"input": "Stream"}, headers=accept)
    assert answer.headers["content-type"].partition(";")[0] in paths[run]["post"]["responses"]["200"]["content"]
    assert answer.text.rstrip().rpartition("\n\n")[2].startswith("event: done\n")
