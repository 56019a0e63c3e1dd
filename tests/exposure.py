"""Where a secret could lie in the open once a stack is deployed, all of it read and searched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from catalog import LABEL_STACK
from tests.engine.project import Project


def exposed(project: Project, values: Sequence[str], *printed: str) -> list[tuple[str, str]]:
    """Each place that holds one of `values` as it is, with the value; `printed` is what commands have shown."""
    assert all(len(value) >= 8 for value in values), "too short to be found for a reason"
    places = [*_files(project), *_engine(project), *((f"output {number}", text) for number, text in enumerate(printed))]
    assert {"processes", "engine", "logs"} <= {where.split(" ")[0] for where, _ in places}
    return [(where, value) for where, text in places for value in values if value in text]


def _files(project: Project) -> Iterator[tuple[str, str]]:
    """State with its backups and history, logs, locks, and what the commands write; not `.env`, which is a source."""
    state = Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    logs = Path(project.environment["PULUMI_HOME"]) / "logs"
    locks = Path(project.environment["MCP_LOCK_DIR"])
    for folder in (state, logs, locks, project.root / ".promptcraft", project.root / "snapshots"):
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_text(errors="replace")
    for path in project.root.glob("Pulumi.*.yaml"):
        yield str(path), path.read_text()


def _engine(project: Project) -> Iterator[tuple[str, str]]:
    """What the engine tells of the stack's objects, what they logged, and the kernel of their processes."""
    client, mine = project.engine.client, {"label": f"{LABEL_STACK}={project.stack}"}
    for volume in client.volumes.list(filters=mine):
        yield f"engine {volume.name}", json.dumps(volume.attrs)
    for network in client.networks.list(filters=mine):
        yield f"engine {network.name}", json.dumps(network.attrs)
    for container in project.containers():
        yield f"engine {container.name}", json.dumps(container.attrs)
        yield f"logs {container.name}", container.logs().decode(errors="replace")
        if not container.attrs["State"]["Pid"]:
            continue
        for row in container.top(ps_args="-eo pid")["Processes"]:
            for kind in ("cmdline", "environ"):
                # A health check's process may have ended since it was listed.
                with suppress(FileNotFoundError, ProcessLookupError):
                    yield (
                        f"processes {container.name} {kind}",
                        Path(f"/proc/{row[0]}/{kind}").read_text(errors="replace"),
                    )
