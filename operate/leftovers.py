"""What an engine or a machine that died mid-way leaves: objects that the state has lost track of, or that stand still.

Only what carries this state's own owner mark is touched; data volumes never are, unless purging was asked for.
"""

from __future__ import annotations

from typing import Any

import docker
from docker.models.containers import Container
from docker.models.networks import Network

from catalog import LABEL_OWNER, LABEL_PROJECT, LABEL_STACK, PROJECT
from discovery.request import Checkpoint
from operate.starting import start


def remove_leftovers(engine: docker.DockerClient, stack: str, checkpoint: Checkpoint) -> list[str]:
    """Remove containers and networks marked as this state's that it does not know; their names."""
    if not checkpoint.known or not checkpoint.owner:
        return []
    containers: list[Container] = engine.containers.list(
        all=True, ignore_removed=True, filters=_ours(stack, checkpoint)
    )
    lost = [container for container in containers if container.id not in checkpoint.ids]
    for container in lost:
        container.remove(force=True)
    networks: list[Network] = engine.networks.list(filters=_ours(stack, checkpoint), greedy=True)
    empty = [network for network in networks if network.id not in checkpoint.ids and not network.attrs["Containers"]]
    for network in empty:
        network.remove()
    return [*(str(container.name) for container in lost), *(str(network.name) for network in empty)]


def start_stopped(engine: docker.DockerClient, stack: str, checkpoint: Checkpoint) -> list[str]:
    """Start what somebody, or a backup that was killed, has stopped of what this state runs; its names.

    Raises `StartError`.
    """
    containers: list[Container] = engine.containers.list(
        all=True, ignore_removed=True, filters=_ours(stack, checkpoint) | {"status": "exited"}
    )
    # A files container is never started.
    stopped = [
        container
        for container in containers
        if container.id in checkpoint.ids and container.attrs["HostConfig"]["RestartPolicy"]["Name"] != "no"
    ]
    for container in stopped:
        start(container)
    return [str(container.name) for container in stopped]


def purge_volumes(engine: docker.DockerClient, stack: str, checkpoint: Checkpoint) -> list[str]:
    """Delete the data volumes of this stack of this state; their names."""
    volumes = engine.volumes.list(filters=_ours(stack, checkpoint))
    for volume in volumes:
        volume.remove()
    return [volume.name for volume in volumes]


def _ours(stack: str, checkpoint: Checkpoint) -> Any:
    marks = {LABEL_PROJECT: PROJECT, LABEL_STACK: stack, LABEL_OWNER: checkpoint.owner}
    return {"label": [f"{name}={value}" for name, value in marks.items()]}
