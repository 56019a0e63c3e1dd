"""Where a command's record, lock and log lie, and the lock that lets one at a time start or stop it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from discovery.readers import host_records
from discovery.readers.host_records import Record
from host_command.failure import HostCommandError

# Longer than a start may take, so that one that was left behind by an interrupted update can end.
WAIT_SECONDS = 90.0
_PAUSE = 0.1


@dataclass(frozen=True)
class Command:
    """The command that serves `service` for a stack of the checkout in `root`."""

    root: Path
    project: str
    stack: str
    service: str

    @property
    def folder(self) -> Path:
        return host_records.folder_of(self.root, self.stack)

    @property
    def record(self) -> Path:
        return host_records.record_path(self.folder, self.service)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.service}.log"

    def read(self) -> Record | None:
        return host_records.read(self.record)

    def write(self, record: Record) -> None:
        """Replace the record at once; readable by its owner only."""
        draft = self.record.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(record.to_text())
        draft.rename(self.record)

    def forget(self) -> None:
        """Remove what tells of the command: it has ended."""
        for path in (self.record, self.log, self.log.with_name(f"{self.log.name}.1")):
            path.unlink(missing_ok=True)

    @contextmanager
    def held(self, seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Keep every other start and stop of this command away. Raises `HostCommandError` where one won't end.

        The kernel lets go of the lock even when its holder is killed. The file is gone when nobody holds it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{self.service}.lock"
        deadline = time.monotonic() + seconds
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if _is_locked(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                    try:
                        yield
                    finally:
                        path.unlink(missing_ok=True)
                    return
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace") or "unknown"
            finally:
                os.close(descriptor)
            if time.monotonic() > deadline:
                raise HostCommandError(
                    f"{self.service}: process {holder} has been starting or stopping it for {seconds:g} s "
                    f"({path}); wait for it, or end it"
                )
            time.sleep(_PAUSE)


def _is_locked(descriptor: int, path: Path) -> bool:
    """Take the lock without waiting; not that of a file which its last holder has removed meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
