"""One look a deploy: what was previewed is what is applied.

In one `pulumi up` the program runs twice, in two processes under the same `pulumi` process, and two looks can
disagree. A look therefore belongs to the nearest ancestor named `pulumi`, by pid and creation time.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

from discovery.report import Report

_FOLDER = ".promptcraft/looks"


def one_look(root: Path, stack: str, look: Callable[[], Report], confirm: Callable[[Report], None]) -> Report:
    """The look of this `pulumi` invocation: taken once by `look`, read back by whoever runs after.

    `confirm` is given what was read back, and raises `ConfigError` where the world has moved on meanwhile: between a
    preview and its update a person may have thought for an hour.
    """
    owner = _invocation()
    if owner is None:
        return look()
    folder = root / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{stack}-{owner}.json"
    if path.exists():
        report = Report.from_json(json.loads(path.read_text(encoding="utf-8")))
        confirm(report)
        return report
    report = look()
    _write(path, report)
    _forget_others(folder, owner)
    return report


def _invocation() -> str | None:
    """`<pid>-<creation time in ms>` of the nearest ancestor named `pulumi`, or None outside of Pulumi."""
    try:
        for process in psutil.Process().parents():
            if process.name() in ("pulumi", "pulumi.exe"):
                return f"{process.pid}-{int(process.create_time() * 1000)}"
    except psutil.Error:
        return None
    return None


def _write(path: Path, report: Report) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(report.to_json(), file)
    Path(temporary).replace(path)


def _forget_others(folder: Path, owner: str) -> None:
    """Delete the looks of invocations that have ended."""
    for path in folder.glob("*.json"):
        words = path.stem.rsplit("-", 2)
        if not path.stem.endswith(owner) and words[1].isdigit() and not psutil.pid_exists(int(words[1])):
            path.unlink(missing_ok=True)
