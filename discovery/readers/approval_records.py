"""Where the operator's approvals are kept: in the user's state folder, outside of every repository, mode 0600.

A file of the repository must not be able to approve another: neither the project's `.env` nor a link moves this one.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from discovery.approval import Approval
from errors import ConfigError
from reading import safe_files
from reading.safe_files import UnsafeFile

MAX_BYTES = 4 * 1024 * 1024
_VERSION = 1


def path_of(environ: Mapping[str, str], home: Path) -> Path:
    """The file: below `XDG_STATE_HOME`, or `~/.local/state`. `environ` is the real environment, without `.env`."""
    configured = environ.get("XDG_STATE_HOME", "")
    # XDG Base Directory Specification: what is not absolute is to be ignored.
    state = Path(configured) if configured.startswith("/") and "\0" not in configured else home / ".local" / "state"
    return state / "promptcraft" / "approvals.json"


def read(path: Path, project: Path) -> tuple[tuple[Approval, ...], str | None]:
    """The approvals for the project, and why there are none where the file can't be used."""
    try:
        return tuple(_approval(entry) for entry in _document(path, project) if entry["project"] == str(project)), None
    except UnsafeFile as error:
        return (), f"approvals: the file {path} {error}: nothing counts as approved"


def add(path: Path, project: Path, approvals: Sequence[Approval]) -> None:
    """Keep `approvals` instead of earlier ones for the same entries. Raises `ConfigError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            added = [_written(project, approval) for approval in approvals]
            replaced = {_place(entry) for entry in added}
            kept = [entry for entry in _document(path, project) if _place(entry) not in replaced]
            _write(path, [*kept, *added])
    except UnsafeFile as error:
        raise ConfigError(f"{path}:1: file: {error}; mend or remove it, then approve again") from error
    except OSError as error:
        raise ConfigError(f"{path}:1: file: {error.strerror or error}; make its folder writable") from error


def _document(path: Path, project: Path) -> list[dict[str, str]]:
    """Everything in the file. Raises `UnsafeFile` where it is not this user's own word."""
    if path.resolve().is_relative_to(project):
        raise UnsafeFile("lies in the project itself; set XDG_STATE_HOME to a folder outside")
    owners = frozenset({0, os.geteuid()})
    data = safe_files.read_file(path, safe_files.Rules(MAX_BYTES, owners, follow=False, private=True))
    if data is None:
        return []
    try:
        document: Any = json.loads(data)
        entries: list[dict[str, str]] = document["approvals"]
        usable = document["version"] == _VERSION and all(
            isinstance(entry[key], str)
            for entry in entries
            for key in ("project", "service", "evidence", "fingerprint")
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnsafeFile("is not a list of approvals") from error
    if not usable:
        raise UnsafeFile("is not a list of approvals")
    return entries


def _approval(entry: Mapping[str, str]) -> Approval:
    return Approval(entry["service"], entry["evidence"], entry["fingerprint"])


def _written(project: Path, approval: Approval) -> dict[str, str]:
    return {
        "project": str(project),
        "service": approval.service,
        "evidence": approval.evidence,
        "fingerprint": approval.fingerprint,
    }


def _place(entry: Mapping[str, str]) -> tuple[str, ...]:
    return entry["project"], entry["service"], entry["evidence"]


def _write(path: Path, entries: Sequence[Mapping[str, str]]) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".approvals.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": _VERSION, "approvals": list(entries)}, file, indent=2)
            file.write("\n")
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
