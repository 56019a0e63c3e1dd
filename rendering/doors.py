"""What the runner is told of the containers that servers run in: which, and by which of squid's ports they go out."""

from __future__ import annotations

import hashlib
import json

from catalog import EGRESS
from planning.plan import Cell, InRunner, Plan

DOORS = "doors.json"


def doors(plan: Plan) -> str:
    """JSON: by container `{"servers", "port", "installing_port", "once"}`; a port is null where there is no way out."""
    document = {cell.workload.service: _door(cell, plan) for cell in plan.cells}
    return json.dumps({"egress": EGRESS.name, "containers": document}, indent=2, sort_keys=True) + "\n"


def _door(cell: Cell, plan: Plan) -> dict[str, object]:
    return {
        "servers": list(cell.servers),
        "port": None if cell.egress == () else cell.port,
        "installing_port": None if cell.is_image else cell.installing_port,
        # Who may not go everywhere installs once: with what it was given, it could take a registry for a way out.
        "once": None if cell.egress is None or cell.is_image else packages_digest(plan.in_runner[cell.servers[0]]),
    }


def packages_digest(server: InRunner) -> str:
    """10 hexadecimal digits that change with what is installed for the server."""
    text = repr((server.program, server.package, server.beside))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
