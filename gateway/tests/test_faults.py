"""What a caller sees and what health says when a neighbour, the disk or the clock fails.

The rest of that table: Redis down or full, MCP servers that talk nonsense, die in a call or want a token are in
`test_running`; a definition that changes is there too.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.tests.conftest import (
    Gateway,
    Plan,
    Process,
    agents_in,
    counting_mcp,
    gateway,
    in_background,
    plan_of,
    qdrant,
    redis_server,
    run,
    service,
    wait_until,
)
from tests.scenarios import debian


class Wire:
    """A port that passes bytes on to another, as late as `seconds` says at that moment."""

    def __init__(self, port: int) -> None:
        self.seconds = 0.0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError), one, other:
            while data := one.recv(65_536):
                # The delay is the fault that is tried, not a wait for something.
                time.sleep(self.seconds)
                other.sendall(data)


@dataclass
class Stage:
    gateway: Gateway
    redis: Wire
    qdrant: Process
    qdrant_port: int
    plan: Plan
    folder: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("faults")
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(folder))
        wire = Wire(port)
        stack.callback(wire.close)
        qdrant_url, vectors = stack.enter_context(qdrant(folder))
        url, _ = stack.enter_context(counting_mcp(folder))
        services = {
            "redis": service("redis", f"redis://127.0.0.1:{wire.port}"),
            "qdrant": service("qdrant", qdrant_url, stand_in="over qdrant-edge-py"),
            "zen-mcp": service("mcp", url),
        }
        plan = plan_of(services, agents_in(folder))
        limits = {"PROMPTCRAFT_RUN_SECONDS": "3", "PROMPTCRAFT_CHECK_SECONDS": "1"}
        running = stack.enter_context(gateway(folder, plan, **limits))
        yield Stage(running, wire, vectors, int(qdrant_url.rpartition(":")[2]), plan, folder)


def health(on: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = on.api.get("/api/health/detailed").json()
    return found


def is_well(on: Gateway) -> bool:
    found = health(on)
    problems = [found[name]["problem"] for name in ("limits", "cache", "sessions", "similar")]
    return found["status"] == "ok" and problems == [None] * 4


def test_a_slow_redis_is_no_cache_and_costs_a_run_seconds_at_most(stage: Stage) -> None:
    on = stage.gateway
    assert run(on, "opus", "In good times", {"session": "slow"}).json()["status"] == "succeeded"
    stage.redis.seconds = 2.0
    try:
        started = time.monotonic()
        assert run(on, "opus", "In slow times").json()["status"] == "succeeded"
        assert time.monotonic() - started < 10
        refused = run(on, "opus", "And then?", {"session": "slow"})
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "sessions_unavailable"
        assert on.api.get("/api/sessions/slow").status_code == 503
        wait_until(lambda: health(on)["limits"]["scope"] == "this replica", "the limits hold for this replica")
        found = health(on)
        assert found["status"] == "degraded"
        assert found["services"]["redis"]["status"] == "down"
        assert found["cache"]["problem"]
    finally:
        stage.redis.seconds = 0.0
    wait_until(lambda: run(on, "opus", "In good times again").status_code == 200 and is_well(on), "Redis is used again")
    assert [turn["input"] for turn in on.api.get("/api/sessions/slow").json()["turns"]] == ["In good times"]


def test_without_qdrant_runs_go_on_and_are_remembered_again_when_it_is_back(stage: Stage) -> None:
    on = stage.gateway
    stage.qdrant.kill()
    assert run(on, "haiku", "Nobody will remember").json()["status"] == "succeeded"
    wait_until(lambda: health(on)["similar"]["problem"] is not None, "health says that runs are not remembered")
    wait_until(lambda: health(on)["services"]["qdrant"]["status"] == "down", "Qdrant is down")
    assert health(on)["status"] == "degraded"
    answer = on.api.get("/api/runs/similar", params={"text": "remember"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "similar_unavailable"
    # The series is there once a run was lost; runs of an earlier test may have been on their way as well.
    assert 'promptcraft_similar_runs_total{outcome="failed"}' in on.api.get("/metrics").text
    with qdrant(stage.folder, stage.qdrant_port):
        run(on, "haiku", "Remember me")
        wait_until(lambda: is_well(on), "Qdrant is used again")
        found = on.api.get("/api/runs/similar", params={"text": "Remember me"}).json()["runs"]
        assert "Remember me" in found[0]["excerpt"]


def test_an_mcp_server_that_is_too_slow_is_a_failed_run_and_frees_its_slot(stage: Stage) -> None:
    record = run(stage.gateway, "opus", "SLOW").json()
    assert record["status"] == "failed"
    assert record["error"] == "zen-mcp did not answer within 3 s"
    assert health(stage.gateway)["services"]["zen-mcp"]["status"] == "ok"
    wait_until(lambda: health(stage.gateway)["limits"]["total"]["running"] == 0, "the slot is free")


def test_an_agent_removed_while_it_runs_ends_its_run_and_starts_no_other(stage: Stage) -> None:
    file = Path(stage.plan["agents"]["sonnet"]["file"])
    text = file.read_text()
    try:
        with in_background(stage.gateway, "sonnet", "SLOW") as record:
            file.unlink()
            refused = run(stage.gateway, "sonnet", "Are you there?")
            assert refused.json()["error"]["code"] == "agent_unavailable"
            agents = {one["id"]: one for one in stage.gateway.api.get("/api/agents/available").json()["agents"]}
            assert agents["sonnet"]["reason"] == ".agents/core/sonnet.md: No such file or directory"
            stage.gateway.api.post(f"/api/runs/{record['id']}/cancel")
        assert record["answers"][0].json()["status"] == "cancelled"
    finally:
        file.write_text(text)
    assert run(stage.gateway, "sonnet", "Are you back?").json()["status"] == "succeeded"


@contextmanager
def tiny_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tiny", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass


@pytest.mark.skipif(
    os.geteuid() != 0 and os.environ.get("REQUIRE_ENGINE") != "1", reason="mounting a file system is for root"
)
def test_a_full_disk_under_logs_temporary_files_and_qdrant_costs_no_run(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(counting_mcp(tmp_path))
        disk = stack.enter_context(tiny_disk(tmp_path / "disk"))
        qdrant_url, _ = stack.enter_context(qdrant(disk))
        services = {"zen-mcp": service("mcp", url), "qdrant": service("qdrant", qdrant_url)}
        plan = plan_of(services, agents_in(disk))
        running = stack.enter_context(gateway(disk, plan, TMPDIR=str(disk)))
        fill(disk)
        for text in ("first", "second"):
            assert run(running, "opus", text).json()["status"] == "succeeded"
        wait_until(lambda: health(running)["similar"]["problem"] is not None, "health says what is lost")
        assert running.api.get("/health").status_code == 200
        assert "promptcraft_agent_run_seconds" in running.api.get("/metrics").text


def clock(file: Path, offset: str) -> dict[str, str]:
    """The environment of a process whose wall clock is off by what `file` says, now and whenever it is rewritten."""
    binary = debian.binary("faketime")
    root = binary.parents[2]
    library = next(root.glob("usr/lib/*/faketime/libfaketime.so.1"))
    file.write_text(offset)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        # A jump of the clock is one of the wall clock.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_a_clock_that_jumps_costs_no_lease_and_bends_no_duration(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(tmp_path))
        url, _ = stack.enter_context(counting_mcp(tmp_path, delay=0.1))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "zen-mcp": service("mcp", url)}
        plan = plan_of(services, agents_in(tmp_path), models={"opus": 1})
        offset = tmp_path / "offset"
        jumping = stack.enter_context(gateway(tmp_path, plan, name="jumping", **clock(offset, "+0")))
        steady = stack.enter_context(gateway(tmp_path, plan, name="steady"))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        with in_background(jumping, "opus", "SLOW") as record:
            waiting = pool.submit(run, steady, "opus", "My turn?")
            wait_until(lambda: health(steady)["limits"]["queue"]["waiting"] == 1, "the other replica waits")
            for jump in ("+2h", "-2h"):
                offset.write_text(jump)
                # The replica has seen its new time and settled with the ledger since.
                before = run(jumping, "haiku", f"What time is it after {jump}?").json()
                assert before["status"] == "succeeded"
                assert 100 <= before["duration_ms"] < 60_000
                assert health(jumping)["limits"]["models"]["opus"]["running"] == 1
                assert not waiting.done()
            created = datetime.fromisoformat(before["created"])
            assert datetime.now(UTC) - created > timedelta(hours=1), "the clock did not jump"
            jumping.api.post(f"/api/runs/{record['id']}/cancel")
        assert record["answers"][0].json()["status"] == "cancelled"
        assert waiting.result().json()["status"] == "succeeded"
