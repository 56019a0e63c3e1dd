"""Start a container and wait until it serves."""

from __future__ import annotations

import time

import docker
from docker.models.containers import Container

# Seconds: for a service to read its data and be healthy.
_START = 180
_POLL = 0.5


class StartError(Exception):
    """A container that was started does not become healthy; the text is one line."""


def start(container: Container) -> None:
    """Start `container` and wait until it is healthy. Raises `StartError`."""
    container.reload()
    restarts = container.attrs["RestartCount"]
    try:
        container.start()
    except docker.errors.APIError as error:
        raise StartError(f"{container.name} cannot be started: {error.explanation}") from error
    end = time.monotonic() + _START
    while time.monotonic() < end:
        container.reload()
        if container.attrs["State"].get("Health", {}).get("Status") == "healthy":
            return
        # The engine starts it again and again: it ends by itself.
        if container.attrs["RestartCount"] > restarts:
            break
        time.sleep(_POLL)
    raise StartError(f"{container.name} does not become healthy; see docker logs {container.name}")
