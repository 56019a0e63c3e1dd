"""Containers whose processes hang: they are there, take connections, and do nothing."""

from __future__ import annotations

import contextlib
import os
import signal

from docker.models.containers import Container


def hang(container: Container) -> None:
    """Stop every process of a container but the engine's init."""
    container.reload()
    for row in container.top()["Processes"]:
        pid = int(row[1])
        if pid != container.attrs["State"]["Pid"]:
            # A health check may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)


def healthy_since(container: Container) -> str | None:
    """When a container that is healthy was started; None while it is not."""
    container.reload()
    state = container.attrs["State"]
    return str(state["StartedAt"]) if state.get("Health", {}).get("Status") == "healthy" else None
