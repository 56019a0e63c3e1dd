"""Reading files that others may have put there: never blocks, never follows where it must not, never reads too much."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_DEPTH = 6
MAX_ENTRIES = 20_000

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a symbolic link"),
)


class UnsafeFile(Exception):
    """The file is there but must not, or cannot, be read. The text continues "the file …"."""


@dataclass(frozen=True)
class Rules:
    """What a file must be like. `max_bytes` bounds its size; `owners` its uid, None for anybody's.

    `follow`: whether a symbolic link at the end of the path is followed. `private`: not writable by group or others,
    and no second hard link. `closed`: not writable by others.
    """

    max_bytes: int
    owners: frozenset[int] | None = None
    follow: bool = True
    private: bool = False
    closed: bool = False


def read_file(path: Path, rules: Rules) -> bytes | None:
    """The file's bytes, or None where there is none. Raises `UnsafeFile` for everything else.

    The checks are made on the opened descriptor, so that what is checked is what is read.
    """
    descriptor = _open(path, rules)
    if descriptor is None:
        return None
    try:
        return read_descriptor(descriptor, rules)
    finally:
        os.close(descriptor)


@contextmanager
def open_file(path: Path, rules: Rules) -> Iterator[BinaryIO | None]:
    """The file, checked as `read_file` does it, to be read piece by piece; None where there is none."""
    descriptor = _open(path, rules)
    if descriptor is None:
        yield None
        return
    with os.fdopen(descriptor, "rb") as file:
        try:
            _check(os.fstat(descriptor), rules)
            yield file
        except OSError as error:
            raise UnsafeFile(f"cannot be read ({error.strerror})") from error


def _open(path: Path, rules: Rules) -> int | None:
    try:
        # Asked before it is opened: opening a device or a pipe can have effects of its own.
        _check_kind(path.stat() if rules.follow else path.lstat())
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(path, flags if rules.follow else flags | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:  # a NUL in the path
        raise UnsafeFile(f"cannot be opened ({error})") from error
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be opened ({error.strerror})"
        raise UnsafeFile(reason) from error


def read_descriptor(descriptor: int, rules: Rules) -> bytes:
    """What `read_file` does, for a file that is already open; the descriptor stays open."""
    try:
        _check(os.fstat(descriptor), rules)
        return _read(descriptor, rules.max_bytes)
    except OSError as error:
        raise UnsafeFile(f"cannot be read ({error.strerror})") from error


def owners_of(home: Path) -> frozenset[int]:
    """The uids whose files in `home` are trusted: root's, this process's, and the owner's of `home` (under sudo)."""
    try:
        return frozenset({0, os.geteuid(), home.stat().st_uid})
    except OSError:
        return frozenset({0, os.geteuid()})


def walk_files(folder: Path, suffixes: Collection[str], max_files: int) -> tuple[list[Path], bool]:
    """Files below `folder` with one of `suffixes`, sorted, at most `max_files`; and whether some were left out.

    Symbolic links are followed (people link their dotfiles), each folder once, so that a loop ends.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    entries = 0
    waiting = [(folder, 0)]
    while waiting:
        current, depth = waiting.pop()
        for entry in _entries(current, seen):
            entries += 1
            if entries > MAX_ENTRIES or len(found) > max_files:
                return sorted(found)[:max_files], True
            path = Path(entry.path)
            if _is_folder(entry):
                if depth < MAX_DEPTH:
                    waiting.append((path, depth + 1))
            elif path.suffix in suffixes:
                found.append(path)
    return sorted(found)[:max_files], len(found) > max_files


def _entries(folder: Path, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return  # absent, or not ours to list: the same to who looks for files in it


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _check_kind(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "not a regular file")
        raise UnsafeFile(f"is {kind}")


def _check(status: os.stat_result, rules: Rules) -> None:
    _check_kind(status)
    if rules.owners is not None and status.st_uid not in rules.owners:
        raise UnsafeFile(f"belongs to another user (uid {status.st_uid})")
    if rules.private and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeFile("is writable by its group or by others")
    if rules.closed and status.st_mode & stat.S_IWOTH:
        raise UnsafeFile("is writable by everybody; remove that with chmod o-w")
    if rules.private and status.st_nlink != 1:
        raise UnsafeFile(f"has {status.st_nlink} hard links")
    if status.st_size > rules.max_bytes:
        raise UnsafeFile(f"is larger than {size(rules.max_bytes)}")


def _read(descriptor: int, max_bytes: int) -> bytes:
    # The size that fstat tells can be outdated, or 0 for what a kernel makes up: the reading itself is bounded too.
    chunks: list[bytes] = []
    left = max_bytes + 1
    while left > 0 and (chunk := os.read(descriptor, left)):
        chunks.append(chunk)
        left -= len(chunk)
    if left == 0:
        raise UnsafeFile(f"is larger than {size(max_bytes)}")
    return b"".join(chunks)


def size(count: int) -> str:
    """`count` bytes for people: `64 KiB`, `1 MiB`."""
    return f"{count // 1048576} MiB" if count >= 1048576 else f"{count // 1024} KiB"
