"""Bodies that would cost more than they are worth: refused before they are parsed, and only so many at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import httpx2
import pytest

from gateway.tests.conftest import (
    Gateway,
    agents_in,
    answers,
    as_json,
    counting_mcp,
    gateway,
    plan_of,
    service,
    wait_until,
)
from gateway.tests.containers import GATEWAY_MEMORY_MIB, Replica, stage

RUNS = "/api/agents/opus/runs"
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("bodies")
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(folder))
        file = folder / "librarian.json"
        file.write_text(as_json("---\nname: librarian\ntool: keep\nprompt_argument: topic\n---\n"))
        agents = {**agents_in(folder), "librarian": {**agents_in(folder)["opus"], "file": str(file)}}
        yield stack.enter_context(gateway(folder, plan_of({"zen-mcp": service("mcp", url)}, agents)))


def nested(depth: int, unit: str = "[]") -> str:
    opened = "[" if unit == "[]" else '{"a":'
    return opened * depth + "1" + unit[-1] * depth


def with_arguments(arguments: str) -> bytes:
    return f'{{"input":"x","arguments":{{"what":{arguments}}}}}'.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_arguments(nested(400)), "body: is nested more than 64 levels deep"),
        (with_arguments(nested(400, "{}")), "body: is nested more than 64 levels deep"),
        (with_arguments(nested(63)), "body: is nested more than 64 levels deep"),
        (b"[" * 1_000_000, "body: has more than 10000 values"),
        (b"[" + b",".join([b"[]"] * 340_000) + b"]", "body: has more than 10000 values"),
        (with_arguments("{" + ",".join(f'"{n}":0' for n in range(10_000)) + "}"), "body: has more than 10000 values"),
        ('{"input":"x"}'.encode("utf-16"), "body: is not JSON in UTF-8"),
        (with_arguments("NaN"), "body.arguments: Value error, Out of range float values are not JSON compliant"),
    ],
)
def test_what_is_too_much_is_422_whatever_it_is(running: Gateway, content: bytes, message: str) -> None:
    answer = running.api.post(RUNS, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (422, {"code": "invalid_request", "message": message})


@pytest.mark.parametrize("depth", [1, 62])
def test_what_is_let_through_reaches_the_tool_whole(running: Gateway, depth: int) -> None:
    content = with_arguments(nested(depth))
    answer = running.api.post(
        "/api/agents/librarian/runs", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.json()["status"] == "succeeded", answer.text
    assert answer.json()["output"] == nested(depth)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"status":' * 20_000, '{"status": "success", "content": ' + "[" * 90_000]
)
def test_an_answer_that_is_nested_without_end_is_a_text(running: Gateway, text: str) -> None:
    answer = running.api.post("/api/agents/librarian/runs", json={"input": "x", "arguments": {"what": text}})
    assert (answer.json()["status"], answer.json()["output"]) == ("succeeded", text)


@pytest.mark.engine
class TestInItsContainer:
    """Under the limits that it is shipped with."""

    @pytest.fixture
    def replica(self, engine: docker.DockerClient, tmp_path: Path) -> Iterator[Replica]:
        with stage(engine, tmp_path) as built:
            yield built.replica(PROMPTCRAFT_QUEUE_LIMIT="200")

    def test_no_crowd_of_bodies_ends_it(self, replica: Replica) -> None:
        bodies = [
            b"[" + b",".join([b"[]"] * 349_000) + b"]",
            b"[" * MEGABYTE,
            with_arguments("[" + ",".join(["{}"] * 9_000) + "]"),
            json.dumps({"input": "x", "arguments": {"what": "\N{PILE OF POO}" * 200_000}}, ensure_ascii=False).encode(),
        ]
        seen = Counter(self._at_once(replica, bodies * 15))
        assert seen.keys() <= {200, 422, 503}, seen
        assert seen[422] >= 30
        self._is_well(replica)

    def test_no_crowd_of_runs_ends_it(self, replica: Replica) -> None:
        """Each with as long a text as it may have, and none of them ends."""
        texts = [f"SLOW {number} " + "\N{PILE OF POO}" * 190_000 for number in range(120)]
        bodies = [json.dumps({"input": text}, ensure_ascii=False).encode() for text in texts]
        seen = Counter(self._at_once(replica, bodies, seconds=15))
        # The first hold what there is; they run on, though nobody waits for them.
        assert seen.keys() == {0, 503}, seen
        self._is_well(replica)
        for run in httpx2.get(f"{replica.api}/api/runs", timeout=30, trust_env=False, verify=False).json()["runs"]:
            httpx2.post(f"{replica.api}/api/runs/{run['id']}/cancel", timeout=30, trust_env=False, verify=False)
        small = json.dumps({"input": "And now?"}).encode()
        wait_until(lambda: self._at_once(replica, [small]) == [200], "there is room again")

    def _at_once(self, replica: Replica, bodies: list[bytes], seconds: float = 120) -> list[int]:
        """What each body got, 0 for no answer in that time."""

        def post(content: bytes) -> int:
            headers: dict[str, Any] = {"Content-Type": "application/json"}
            try:
                return httpx2.post(
                    f"{replica.api}{RUNS}",
                    content=content,
                    headers=headers,
                    timeout=seconds,
                    trust_env=False,
                    verify=False,
                ).status_code
            except httpx2.TimeoutException:
                return 0

        with ThreadPoolExecutor(20) as pool:
            return list(pool.map(post, bodies))

    def _is_well(self, replica: Replica) -> None:
        replica.container.reload()
        state = replica.container.attrs["State"]
        assert (state["Running"], state["OOMKilled"]) == (True, False)
        assert replica.resident_mib() < GATEWAY_MEMORY_MIB * 0.8
        assert answers(f"{replica.api}/health")
