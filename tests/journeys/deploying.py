"""A `make up` in the background, and what none of them may leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import threading
from pathlib import Path

import psutil

from tests.engine.project import Done, Project

REFUSED = "nothing was changed, try again when it has ended"


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


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)
