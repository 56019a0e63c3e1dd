"""Whoever else deploys, and whatever is killed meanwhile: one deployment at a time, and the next `up` converges."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.journeys.npm_mirror import npm_mirror
from tests.waiting import until

pytestmark = pytest.mark.engine

REFUSED = "nothing was changed, try again when it has ended"
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
                    ["make", "--makefile", "one_command.mk", f"STACK={project.stack}"],
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

    def named(self, name: str) -> list[psutil.Process]:
        """What it consists of: `make`, `operate`, the `pulumi up`, or `everything`."""
        try:
            make = psutil.Process(self.process.pid)
            family = [make, *make.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        below = {"make": family[:1], "operate": family[1:2], "everything": family}
        if name == "pulumi up":
            return [process for process in family if "up" in arguments(process, of="pulumi")]
        return below[name] if name in below else [process for process in family if arguments(process, of=name)]


def arguments(process: psutil.Process, of: str) -> list[str]:
    """Its command line, where it is a process of that name."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.cmdline()) if process.name() == of else []
    return []


@pytest.fixture(scope="module")
def registry(private_engine: PrivateEngine) -> Iterator[str]:
    """Where the cloud stack's MCP servers come from."""
    with npm_mirror(private_engine) as address:
        yield address


@pytest.fixture(params=STACKS)
def project(request: pytest.FixtureRequest, new_project: Callable[..., Project], registry: str) -> Iterator[Project]:
    project = with_make(new_project(like=request.param))
    project.environment["NPM_CONFIG_REGISTRY"] = registry
    yield project
    project.leave_nothing()


def with_make(project: Project) -> Project:
    """Let a real `make` start the command, without the set-up that is done already."""
    (project.root / "one_command.mk").write_text("up:\n\t@.venv/bin/python -m operate up --stack $(STACK)\n")
    return project


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
        assert done.code == 0 or REFUSED in done.text, done.text
    converged(project)


KILLS = [
    (signal.SIGKILL, "everything"),
    (signal.SIGKILL, "pulumi up"),
    (signal.SIGKILL, "operate"),
    (signal.SIGKILL, "make"),
    (signal.SIGTERM, "make"),
    (signal.SIGINT, "operate"),
]


@pytest.fixture(scope="module")
def production(new_project: Callable[..., Project]) -> Project:
    return with_make(new_project(like="production"))


@pytest.mark.parametrize("kill", range(20))
def test_whatever_is_killed_the_next_up_converges(
    kill: int, production: Project, chance: random.Random, tmp_path: Path
) -> None:
    # The first one has everything to make; each one after it replaces whatever knows the log level.
    production.environment["LOG_LEVEL"] = ("INFO", "DEBUG")[kill % 2]
    number, name = KILLS[kill % len(KILLS)]
    up = Up(production, tmp_path / "log")
    until(lambda: bool(up.named(name)))
    moment = chance.uniform(0, 20)
    pause(moment)
    killed = up.named(name)
    for process in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    up.process.wait(120)
    print(f"{number.name} to {len(killed)} of {name} after {moment:.1f} s: {up.log.read_text()[-300:]}")  # noqa: T201
    converged(production)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_asked_to_end_says_so_in_one_line_and_leaves_nothing_running(
    number: signal.Signals, production: Project, tmp_path: Path
) -> None:
    production.environment["LOG_LEVEL"] = "INFO" if number == signal.SIGINT else "DEBUG"
    up = Up(production, tmp_path / "log")
    until(lambda: bool(up.named("pulumi-resource-docker")))
    [operate] = up.named("operate")
    operate.send_signal(number)
    done = up.done()
    assert f"interrupted by {number.name}; make up again goes on from here" in done.text
    assert "Traceback" not in done.text
    assert left(production) == []
    converged(production)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def test_a_cancel_by_hand_lets_nobody_else_in(production: Project, tmp_path: Path) -> None:
    production.environment["LOG_LEVEL"] = "WARNING"
    up = Up(production, tmp_path / "log")
    until(lambda: bool(up.named("pulumi-resource-docker")))
    cancelled = production.pulumi("cancel", "--yes")
    assert cancelled.code == 0, cancelled.text
    command = production.operate("up")
    assert command.code == 1 and REFUSED in command.text, command.text
    by_hand = production.pulumi("up", "--yes", "--skip-preview")
    assert by_hand.code != 0 and REFUSED in by_hand.text, by_hand.text
    assert up.process.poll() is None, up.log.read_text()
    up.done()
    converged(production)


def test_an_update_by_hand_and_a_command_keep_each_other_out(production: Project, tmp_path: Path) -> None:
    production.environment["LOG_LEVEL"] = "ERROR"
    up = Up(production, tmp_path / "log")
    until(lambda: bool(up.named("pulumi-resource-docker")))
    by_hand = production.pulumi("up", "--yes", "--skip-preview")
    assert by_hand.code != 0 and ("currently locked" in by_hand.text or REFUSED in by_hand.text), by_hand.text
    assert up.done().code == 0
    converged(production)
