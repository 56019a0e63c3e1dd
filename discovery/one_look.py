"""One look a deploy: what was previewed is what is applied.

In one `pulumi up` the program runs twice, in two processes under the same `pulumi` process, and two looks can
disagree. A look therefore belongs to the nearest ancestor named `pulumi`, or to the command that started it and looked
before, to have the images for what is there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from discovery.readers.process_identity import ProcessIdentity, identity
from discovery.report import Report

_FOLDER = ".promptcraft/looks"
_DEPLOYMENT = "PROMPTCRAFT_DEPLOYMENT"


def one_look(root: Path, stack: str, look: Callable[[], Report], confirm: Callable[[Report], None]) -> Report:
    """The look of this deployment: taken once by `look`, read back by whoever runs after.

    `confirm` is given what was read back, and raises `ConfigError` where the world has moved on meanwhile: between a
    preview and its update a person may have thought for an hour.
    """
    owner = _deployment() or pulumi_process()
    if owner is None:
        return look()
    folder = root / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{stack}-{owner.pid}.json"
    kept = _read(path)
    if kept is not None and kept["birth"] == owner.birth:
        report = Report.from_json(kept["report"])
        confirm(report)
        return report
    report = look()
    _write(path, owner, report)
    _forget_ended(folder)
    return report


def begin_deployment() -> None:
    """From now on this process and all that it starts share one look."""
    os.environ[_DEPLOYMENT] = str(os.getpid())


def _deployment() -> ProcessIdentity | None:
    """The process that began the deployment which this one is part of; None where none did."""
    told = os.environ.get(_DEPLOYMENT, "")
    family = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    return identity(int(told)) if told.isdecimal() and int(told) in family else None


def pulumi_process() -> ProcessIdentity | None:
    """The nearest ancestor named `pulumi`, or None outside of Pulumi."""
    try:
        for process in psutil.Process().parents():
            if process.name() in ("pulumi", "pulumi.exe"):
                return identity(process.pid)
    except psutil.Error:
        return None
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        kept: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.keys() == {"birth", "report"} else None


def _write(path: Path, owner: ProcessIdentity, report: Report) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"birth": owner.birth, "report": report.to_json()}, file)
    Path(temporary).replace(path)


def _forget_ended(folder: Path) -> None:
    """Delete the looks of invocations that have ended."""
    for path in folder.glob("*.json"):
        pid = path.stem.rpartition("-")[2]
        kept = _read(path)
        if kept is None or not (pid.isdigit() and ProcessIdentity(int(pid), str(kept["birth"])).lives):
            path.unlink(missing_ok=True)
