"""One measured figure, and how a child process is timed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A figure and the limit it must not exceed, or, `at_least`, must reach; `detail` says what it was made of."""

    name: str
    value: float
    limit: float
    unit: str
    detail: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Run:
    """One child process: wall-clock seconds, peak memory, and what it printed."""

    seconds: float
    peak_mib: float
    stdout: str


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Run:
    """Run a command to its end. Raises `subprocess.CalledProcessError` where it fails."""
    started = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command, printed)
    return Run(seconds, usage.ru_maxrss / 1024, printed)
