"""What wrote the data of this stack's own services: the real one or a stand-in, neither of which reads the other's."""

from __future__ import annotations

from catalog import LABEL_STAND_IN, SERVICES, container_name, volume_name
from discovery.request import Request
from discovery.world import Inventory
from reading.text import one_line


def data_writers(request: Request, inventory: Inventory) -> dict[str, str]:
    """By service what a stand-in calls itself, or "" for the real one. Pure.

    A service without a data volume, or of whose data nobody can say, is not in it.
    """
    writers = {}
    for name, service in SERVICES.items():
        volume = inventory.volumes.get(volume_name(request.stack, name)) if service.data_path else None
        if volume is None:
            continue
        if (running := _container(name, request, inventory)) is not None:
            # One from before all of them said it is the real service's.
            writers[name] = one_line(running.get(LABEL_STAND_IN, ""), 100)
        elif LABEL_STAND_IN in volume:
            # All that a destroyed stack leaves. It tells who made it, not who took it over since.
            writers[name] = one_line(volume[LABEL_STAND_IN], 100)
    return writers


def _container(name: str, request: Request, inventory: Inventory) -> dict[str, str] | None:
    """The labels of this stack's own container of a service, whether it runs or not."""
    own = container_name(request.stack, name)
    found = (one for one in inventory.containers if one.name == own and one.id in request.checkpoint.ids)
    return next((dict(container.labels) for container in found), None)
