"""Candidates from lock files, `.mcp-SERVICE.lock`: a hint where to ask, never proof that anybody is there."""

from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path

from discovery.config import is_name
from discovery.readers import lock_format
from discovery.readers.lock_format import LockError
from discovery.report import Candidate, Source
from discovery.request import Gathered, Request
from reading import safe_files
from reading.text import one_line

MAX_LOCKS = 200
_MAX_ENTRIES = 100_000


def lock_files(request: Request) -> Gathered:
    """One candidate for each lock; an unsafe, foreign-shaped or stale one carries that as its problem and warns."""
    found: list[Candidate] = []
    warnings: list[str] = []
    names = _names(request.lock_dir)
    if len(names) > MAX_LOCKS:
        warnings.append(f"{len(names)} lock files in the lock folder; only the first {MAX_LOCKS} are looked at")
    for name in names[:MAX_LOCKS]:
        service = name.removeprefix(".mcp-").removesuffix(".lock")
        if not is_name(service):
            warnings.append(f"lock file {one_line(name, 80)} names no service that can exist: ignored")
            continue
        candidate = _candidate(request.lock_dir / name, service)
        if candidate is None:
            continue
        if candidate.problem is not None:
            warnings.append(f"{candidate.evidence}: {candidate.problem}")
        found.append(candidate)
    return Gathered(tuple(found), tuple(warnings))


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for entry in islice(entries, _MAX_ENTRIES))
            return sorted(name for name in names if name.startswith(".mcp-") and name.endswith(".lock"))
    except OSError:
        return []


def _candidate(path: Path, service: str) -> Candidate | None:
    endpoint, problem = "", None
    try:
        data = lock_format.read(path)
        if data is None:
            return None  # released since the folder was listed
        lock = lock_format.parse(data)
        endpoint = lock.endpoint
        if lock.service != service:
            problem = f"unsafe lock: it says it is for {lock.service}"
        elif reason := lock_format.stale_reason(lock, time.time()):
            problem = f"stale lock: {reason}"
    except (safe_files.UnsafeFile, LockError) as error:
        problem = f"unsafe lock: the file {error}"
    return Candidate(service, Source.EXTERNAL, endpoint, f"lock file {path.name}", problem=problem)
