"""How old the images are that a stack's containers run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import docker
import requests

from catalog import LABEL_PROJECT, LABEL_SERVICE, LABEL_STACK, PROJECT

# Who builds reproducibly writes a fixed date, which says nothing of the image.
_MEANT = datetime(2015, 1, 1, tzinfo=UTC)


def image_ages(connect: Callable[[], docker.DockerClient], stack: str, now: datetime) -> Mapping[str, timedelta]:
    """The age of the image of each service that runs in `stack` on the engine that `connect` reaches.

    Where a service's containers differ, the oldest counts.

    A service whose image tells no date is missing; so are all where the engine does not answer.
    """
    ages: dict[str, timedelta] = {}
    try:
        labels = [f"{LABEL_PROJECT}={PROJECT}", f"{LABEL_STACK}={stack}", LABEL_SERVICE]
        for container in connect().containers.list(filters={"label": labels}, ignore_removed=True):
            image = container.image
            if image is None:
                continue
            # Go writes nanoseconds, which Python's dates have not.
            created = datetime.fromisoformat(str(image.attrs["Created"])[:19]).replace(tzinfo=UTC)
            service = container.labels[LABEL_SERVICE]
            if created > _MEANT:
                ages[service] = max(now - created, ages.get(service, timedelta()))
    except (docker.errors.DockerException, requests.RequestException):
        return {}
    return ages


def told(age: timedelta | None) -> str:
    """`age` in days, for people."""
    if age is None:
        return ""
    return {0: "of today", 1: "1 day old"}.get(age.days, f"{age.days} days old")
