"""The gateway's container: how fast it starts and stops, how small it is, and what a run from the cache costs.

Client and servers share this machine's cores, so throughput is a lower bound and says little between machines; CPU
seconds a request are the servers' own.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import docker
from docker.models.containers import Container

from bench.measure import Figure
from gateway.tests.containers import Replica, Stage, stage

_STARTS = 3
_CLIENTS = 8
_REQUESTS = 2000
_AGENT = "/api/agents/opus/runs"
_BODY = json.dumps({"input": "Say it again"})


def figures() -> Iterator[Figure]:
    """Every figure of this file, one after the other."""
    with tempfile.TemporaryDirectory(prefix="promptcraft-bench-") as folder:
        engine = docker.from_env(timeout=120)
        with stage(engine, Path(folder)) as beside:
            yield from _starting(beside)
            replicas = [beside.replica() for _ in range(3)]
            yield Figure("gateway, memory at rest", replicas[0].resident_mib(), 120, "MiB", "RSS of a replica")
            yield from _cached(replicas[:1])
            yield from _cached(replicas)
        engine.close()


def _starting(beside: Stage) -> Iterator[Figure]:
    starts, cpu, stops = [], [], []
    for _ in range(_STARTS):
        replica = beside.replica()
        starts.append(replica.answered_at - _started_at(replica.container))
        cpu.append(_cpu_seconds(replica.container))
        begun = time.perf_counter()
        replica.container.stop(timeout=30)
        stops.append(time.perf_counter() - begun)
        ended = replica.container.wait(timeout=30)["StatusCode"]
        assert ended == 0, f"SIGTERM ended the gateway with {ended}"
    # The best, because whatever else the machine does can only add to it.
    detail = f"best of {_STARTS}, from exec to /health on both ports"
    yield Figure("gateway, start", min(starts), 2.0, "s", detail)
    yield Figure("gateway, CPU to start", min(cpu), 2.0, "s", f"best of {_STARTS}, by the cgroup")
    yield Figure("gateway, stop", min(stops), 5.0, "s", f"best of {_STARTS}, SIGTERM to exit 0")


def _cached(replicas: Sequence[Replica]) -> Iterator[Figure]:
    """`_CLIENTS` connections ask as fast as they are answered, spread evenly over the replicas."""
    _ask(replicas[0], 1)
    before = sum(_cpu_seconds(replica.container) for replica in replicas)
    begun = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        each = _REQUESTS // _CLIENTS
        asked = [pool.submit(_ask, replicas[number % len(replicas)], each) for number in range(_CLIENTS)]
        seconds = sorted(one for future in asked for one in future.result())
    elapsed = time.perf_counter() - begun
    cpu = sum(_cpu_seconds(replica.container) for replica in replicas) - before
    name = f"cached run, {len(replicas)} replica{'s' if len(replicas) > 1 else ''}"
    detail = f"{len(seconds)} runs over {_CLIENTS} connections"
    yield Figure(f"{name}: throughput", len(seconds) / elapsed, 50, "/s", detail, at_least=True)
    cuts = statistics.quantiles(seconds, n=100)
    for percent, limit in ((50, 100), (95, 400), (99, 1000)):
        yield Figure(f"{name}: p{percent}", cuts[percent - 1] * 1000, limit, "ms", detail)
    yield Figure(f"{name}: CPU a request", cpu / len(seconds) * 1000, 15, "ms", "of the replicas, by their cgroups")


def _ask(replica: Replica, times: int) -> list[float]:
    """How many seconds each of the runs took, one after the other over one connection."""
    address = urlsplit(replica.api)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        connection.request("POST", _AGENT, _BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        taken.append(time.perf_counter() - begun)
        assert answer.status == 200, text
    connection.close()
    return taken


def _started_at(container: Container) -> float:
    # 2026-11-22T20:02:06.123456789Z, and Python reads no more than six decimals.
    container.reload()
    text = re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", container.attrs["State"]["StartedAt"])
    return datetime.fromisoformat(text).timestamp()


def _cpu_seconds(container: Container) -> float:
    stats = container.stats(stream=False)
    assert isinstance(stats, dict)
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
