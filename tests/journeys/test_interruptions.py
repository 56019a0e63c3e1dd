"""Whoever else deploys, and whatever is killed meanwhile: one deployment at a time, and the next `up` converges."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.engine.project import Done, Project

pytestmark = pytest.mark.engine

REFUSED = "nothing was changed, try again when it has ended"
# Small enough for four stacks, and the same shapes as the committed ones.
STACKS = ("dev", "hybrid", "production", "cloud")


@pytest.fixture(scope="module")
def chance() -> random.Random:
    """Random moments that can be had again: PYTEST_SEED names them."""
    seed = os.environ.get("PYTEST_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"PYTEST_SEED={seed}")  # noqa: T201
    return random.Random(seed)


class Up:
    """A `make up` that goes on in the background, in a process group of its own as a shell gives it."""

    def __init__(self, project: Project, log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = project.inside(
                lambda: subprocess.Popen(
                    [".venv/bin/python", "-m", "operate", "up", "--stack", project.stack],
                    cwd=project.root,
                    env={**os.environ, **project.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def done(self) -> Done:
        return Done(self.process.wait(300), self.log.read_text())

    def family(self) -> list[psutil.Process]:
        """The command and everything below it."""
        try:
            this = psutil.Process(self.process.pid)
            return [this, *this.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@pytest.fixture(params=STACKS)
def project(request: pytest.FixtureRequest, new_project: Callable[..., Project]) -> Iterator[Project]:
    project = new_project(like=request.param)
    yield project
    project.leave_nothing()


def state(project: Project) -> Path:
    return Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://")) / ".pulumi"


def left(project: Project) -> list[str]:
    """What no `up` that ended may leave: pending operations, Pulumi's locks, processes, containers of no state."""
    exported = json.loads(project.pulumi("stack", "export").text)["deployment"]
    pending = [f"{found['type']} {found['resource']['urn']}" for found in exported.get("pending_operations", [])]
    locks = [str(path) for path in (state(project) / "locks").rglob("*.json")]
    known = {resource.get("id") for resource in exported["resources"]}
    lost = [str(container.name) for container in project.containers() if container.id not in known]
    return [*pending, *locks, *lost, *processes_of(project)]


def processes_of(project: Project) -> list[str]:
    """Every process that was started for the project: its state's folder stands in their environment."""
    mark = f"PULUMI_BACKEND_URL={project.environment['PULUMI_BACKEND_URL']}".encode()
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environment and process.status() != psutil.STATUS_ZOMBIE:
            found.append(f"{process.pid} {process.name()}")
    return found


def converged(project: Project) -> None:
    """The last word is "unchanged", and nothing is left of what happened before."""
    done = project.operate("up")
    assert done.code == 0, done.text
    unchanged = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
    assert left(project) == []


@pytest.mark.parametrize("number", [2, 3, 10])
def test_of_several_deployments_one_works_and_nothing_is_lost(
    number: int, project: Project, chance: random.Random, tmp_path: Path
) -> None:
    ups = []
    for index in range(number):
        ups.append(Up(project, tmp_path / f"{index}.log"))
        # Somewhere in the first one: its set-up, its preview, its containers, its end.
        pause(chance.uniform(0, 30 / number))
    ended = [up.done() for up in ups]
    assert any(done.code == 0 for done in ended), ended[0].text
    for done in ended:
        assert done.code == 0 or (done.code == 1 and REFUSED in done.text), done.text
    converged(project)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)
