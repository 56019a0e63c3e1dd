"""Run other programs: output is kept for the error message, and never reaches our stdout."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.failure import SetupError

# Enough of a failed build's output to see why.
TAIL_LINES = 25


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    stdin: str | None = None,
) -> str:
    """Run `command` and return its stdout. `timeout` is in seconds.

    Raises `SetupError` with the end of its output where it fails, is missing, or takes too long.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=None if environment is None else dict(environment),
            timeout=timeout,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError(f"{words[0]} is not installed or not on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"`{' '.join(words[:4])}` gave no answer within {timeout:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL_LINES:])
        raise SetupError(f"`{' '.join(words)}` failed with exit code {done.returncode}:\n{tail}")
    return done.stdout


def answer(command: Sequence[str | Path], *, timeout: float = 10.0, cwd: Path | None = None) -> str | None:
    """`run`'s stdout without surrounding space, or None where the command fails: for asking, not for doing."""
    try:
        return run(command, timeout=timeout, cwd=cwd).strip()
    except SetupError:
        return None
