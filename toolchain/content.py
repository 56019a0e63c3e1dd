"""Hashes of contents: what makes "done already" a fact and not a guess."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

SHORT = 12

# Made by tools, never an input.
_IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "bin"}


def of_parts(parts: Iterable[str | bytes]) -> str:
    """SHA-256 of `parts` in order. Each is framed by its length, so that moving a border changes the hash."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def files_of(folder: Path, without: frozenset[str] = frozenset()) -> list[Path]:
    """The files under `folder` in a stable order; `without` names files and folders to leave out at any depth."""
    skipped = _IGNORED | without
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not skipped.intersection(path.relative_to(folder).parts) and path.suffix != ".pyc"
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def of_folder(folder: Path, without: frozenset[str] = frozenset()) -> str:
    """SHA-256 over the names and contents of `files_of`."""
    parts: list[str | bytes] = []
    for path in files_of(folder, without):
        parts += [path.relative_to(folder).as_posix(), path.read_bytes()]
    return of_parts(parts)
