"""What production really uses under load, next to what it may: each container's memory and CPU, and all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from docker.models.containers import Container

from bench.deployed import SECRET, production
from bench.load import Driven, Request, drive
from bench.measure import Figure
from tests.engine.project import Project

_NGINX = 80
_RATE, _SECONDS = 200, 60
_PAUSE_SECONDS = 3.0
_MIB = 2**20


@dataclass(frozen=True)
class _Use:
    """One look at a container: memory in bytes without what the kernel may drop, CPU seconds since its start."""

    memory: int
    cpu_seconds: float


def figures() -> Iterator[Figure]:
    """Deploy production on an engine of its own, drive it, and measure; then the engine is gone."""
    with production() as project:
        yield from _under_load(project)


def _under_load(project: Project) -> Iterator[Figure]:
    containers = sorted((one for one in project.containers() if one.status == "running"), key=lambda one: str(one.name))
    with ThreadPoolExecutor(1) as background:
        load = background.submit(project.inside, lambda: drive(_NGINX, _request, _RATE * _SECONDS, _RATE))
        looks = list(_looks(containers, load.done))
        driven = load.result()
    yield _answered(driven)
    peaks = 0.0
    for container in containers:
        seen = [look[str(container.name)] for look in looks]
        peak = max(use.memory for use in seen) / _MIB
        peaks += peak
        cores = (seen[-1].cpu_seconds - seen[0].cpu_seconds) / (driven.ended - driven.started)
        limits = container.attrs["HostConfig"]
        name = str(container.name).removeprefix(f"promptcraft-{project.stack}-")
        detail = f"peak; {cores:.2f} of {limits['NanoCpus'] / 1e9:g} cores"
        yield Figure(f"production, memory of {name}", peak, limits["Memory"] / _MIB, "MiB", detail)
    budget = project.outputs()["budget"]
    yield Figure("production, memory of all", peaks, budget["limit_mb"], "MiB", f"limits {budget['memory_mb']} MiB")


def _request(number: int) -> Request:
    """The page, its health and the agents by turns."""
    name, path = (("page", "/"), ("health", "/health"), ("agents", "/api/agents/available"))[number % 3]
    return Request(name, path, headers={"Authorization": f"Bearer {SECRET}"})


def _answered(driven: Driven) -> Figure:
    failed = len(driven.failures) + sum(count for (_, status), count in driven.answers.items() if status != 200)
    seconds = driven.ended - driven.started
    detail = f"{driven.sent} in {seconds:.0f} s, {driven.sent / seconds:.0f}/s"
    return Figure("production, failed requests through nginx", failed, 0, "", detail)


def _looks(containers: list[Container], over: Callable[[], bool]) -> Iterator[dict[str, _Use]]:
    """A look at all containers every few seconds, the last after the load is over."""
    pause = threading.Event()
    while True:
        last = over()
        yield {str(container.name): _use(container) for container in containers}
        if last:
            return
        pause.wait(_PAUSE_SECONDS)


def _use(container: Container) -> _Use:
    """As `docker stats` counts: the page cache that could be dropped at once is no use (cgroup v1 and v2)."""
    told = cast(dict[str, Any], container.stats(stream=False, one_shot=True))
    memory = told["memory_stats"]
    cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
    return _Use(memory["usage"] - cache, told["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9)
