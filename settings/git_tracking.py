"""Whether a file came with a git repository, or may have: git's index is read, and git is not run."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from reading import git_index, safe_files

_MAX_INDEX_BYTES = 64 * 1024 * 1024  # Linux, with 90,000 files, has 10 MiB
_MAX_LINK_BYTES = 8 * 1024


class Tracking(Enum):
    """What git's index says of a file.

    `UNKNOWN`: there is an index, and it can't be read. Where there is none, git has checked nothing out: an unpacked
    archive, a fresh `git init`, a worktree's copy without its repository.
    """

    UNTRACKED = "untracked"
    TRACKED = "tracked"
    UNKNOWN = "unknown"


def tracking(file: Path) -> Tracking:
    """What git says of `file`, and of what it leads to where it is a link: its text may come from either."""
    here = file.parent.resolve() / file.name
    said = {_said_of(path) for path in (here, here.resolve())}
    return next((each for each in (Tracking.TRACKED, Tracking.UNKNOWN) if each in said), Tracking.UNTRACKED)


def _said_of(file: Path) -> Tracking:
    top = next((folder for folder in file.parents if os.path.lexists(folder / ".git")), None)
    if top is None:
        return Tracking.UNTRACKED
    try:
        return _in_index(_git_folder(top), "index", top, file)
    except safe_files.UnsafeFile:
        return Tracking.UNKNOWN


def _git_folder(top: Path) -> Path:
    """The repository of the work tree `top`: a folder, or named by a file in a worktree or a submodule."""
    link = top / ".git"
    if link.is_dir():
        return link
    data = safe_files.read_file(link, safe_files.Rules(max_bytes=_MAX_LINK_BYTES)) or b""
    return top / os.fsdecode(data.removeprefix(b"gitdir:").strip())


def _in_index(folder: Path, name: str, top: Path, file: Path) -> Tracking:
    data = safe_files.read_file(folder / name, safe_files.Rules(max_bytes=_MAX_INDEX_BYTES))
    if data is None:
        return Tracking.UNTRACKED
    path = os.fsencode(file.relative_to(top).as_posix())
    index = git_index.read(data, path)
    if index is None:
        return Tracking.UNKNOWN
    if any(entry == path or entry.endswith(b"/") or _is_same(top, entry, file) for entry in index.entries):
        return Tracking.TRACKED
    if index.shared is None or name != "index":
        return Tracking.UNTRACKED
    # Entries that a split index has removed since count as tracked until git writes the shared part anew.
    shared = f"sharedindex.{index.shared}"
    return _in_index(folder, shared, top, file) if (folder / shared).exists() else Tracking.UNKNOWN


def _is_same(top: Path, entry: bytes, file: Path) -> bool:
    """Whether a name in other letters is the same file, as it is on disks that do not tell them apart."""
    try:
        return file.samefile(top / os.fsdecode(entry))
    except (OSError, ValueError):
        return False
