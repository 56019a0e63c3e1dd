"""Whatever is killed, cancelled or interrupted while a stack is deployed: the next `up` converges."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from discovery.readers.process_identity import ProcessIdentity, identity
from tests.engine.project import Project
from tests.journeys.deploying import REFUSED, Up, chance, converged, left, pause, with_make
from tests.waiting import until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def moments() -> random.Random:
    return chance()


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
    kill: int, production: Project, moments: random.Random, tmp_path: Path
) -> None:
    # The first one has everything to make; each one after it replaces whatever knows the log level.
    production.environment["LOG_LEVEL"] = ("INFO", "DEBUG")[kill % 2]
    number, name = KILLS[kill % len(KILLS)]
    up = Up(production, tmp_path / "log")
    until(lambda: bool(up.named(name)))
    moment = moments.uniform(0, 12)
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


def test_a_pulumi_killed_by_hand_leaves_neither_language_host_nor_program(production: Project, tmp_path: Path) -> None:
    production.environment["LOG_LEVEL"] = "DEBUG"
    with (tmp_path / "log").open("wb") as log:
        by_hand = production.inside(
            lambda: subprocess.Popen(
                ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", production.stack],
                cwd=production.root,
                env={**os.environ, **production.environment},
                stdout=log,
                stderr=log,
            )
        )
    hosts: list[ProcessIdentity | None] = []

    def works() -> bool:
        family = psutil.Process(by_hand.pid).children(recursive=True)
        hosts[:] = [identity(each.pid) for each in family if "pulumi-language-python" in " ".join(each.cmdline())]
        return any(each.name() == "pulumi-resource-docker" for each in family) and len(hosts) > 1

    until(works)
    by_hand.kill()
    by_hand.wait()
    # The health of the engine is asked every 5 s.
    until(lambda: not any(host and host.lives for host in hosts), seconds=30)
    converged(production)
