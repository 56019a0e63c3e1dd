"""A stack's state in Pulumi's file backend: whether it is whole, and who holds its lock (docs/reliability.md, 2).

Layout and lock as Pulumi's `pkg/backend/diy` has them: `locks/organization/<project>/<stack>/<id>.json`, each
`{"pid", "username", "hostname", "timestamp"}`; whoever finds another's after writing its own takes it back.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from catalog import PROJECT
from discovery.deployment_lock import BusyError
from discovery.readers.process_identity import why_gone
from errors import ConfigError


@dataclass(frozen=True)
class FileState:
    """The state of `stack` below `folder`, which is a backend's `.pulumi`."""

    folder: Path
    stack: str

    def check(self) -> None:
        """Refuse a state that is broken or lost: to pulumi, both can look like a stack that never was.

        Raises `ConfigError`.
        """
        file = self.folder / "stacks" / PROJECT / f"{self.stack}.json"
        backups = self.folder / "backups" / PROJECT / self.stack
        newest = f"the newest backup that parses lies in {backups}; copy it to {file}"
        if file.exists():
            try:
                json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ConfigError(f"{file}:1: state: is damaged ({error}); {newest}") from error
        elif file.with_name(file.name + ".bak").exists() and _was_deployed(file.with_name(file.name + ".bak")):
            raise ConfigError(f"{file}:1: state: is gone, but a backup of it is there; {newest}")

    def ensure_unlocked(self) -> None:
        """Remove the locks of updates that died on this machine. Raises `BusyError` where one lives, or may."""
        for lock in self._locks():
            holder = self._holder(lock)
            if holder is None:
                continue
            if holder.why_dead is None:
                raise BusyError(self._busy(lock, holder))
            lock.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold Pulumi's own lock, so that no `pulumi` begins meanwhile. Raises `BusyError` where another holds it."""
        self.ensure_unlocked()
        own = self._lock_folder / f"{secrets.token_hex(16)}.json"
        own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own.write_text(
            json.dumps(
                {
                    "pid": os.getpid(),
                    "username": getpass.getuser(),
                    "hostname": os.uname().nodename,
                    "timestamp": datetime.now().astimezone().isoformat(),
                }
            )
        )
        try:
            for lock in self._locks():
                if lock != own and (holder := self._holder(lock)) is not None:
                    raise BusyError(self._busy(lock, holder))
            yield
        finally:
            own.unlink(missing_ok=True)

    @property
    def _lock_folder(self) -> Path:
        return self.folder / "locks" / "organization" / PROJECT / self.stack

    def _locks(self) -> list[Path]:
        return sorted(self._lock_folder.glob("*.json"))

    def _holder(self, lock: Path) -> _Holder | None:
        """Who wrote a lock; None where it has just been taken away. Raises `ConfigError` for what is no lock."""
        try:
            told = json.loads(lock.read_text(encoding="utf-8"))
            return _Holder(
                pid=int(told["pid"]),
                user=str(told["username"]),
                host=str(told["hostname"]),
                written=datetime.fromisoformat(str(told["timestamp"])),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{lock}:1: lock: is damaged; if no update of {self.stack} is running, delete this file"
            ) from error

    def _busy(self, lock: Path, holder: _Holder) -> str:
        return (
            f"{lock}: a pulumi command of {holder.user}@{holder.host} (process {holder.pid}, since "
            f"{holder.written:%Y-%m-%d %H:%M:%S}) is changing this stack; nothing was changed, "
            "try again when it has ended"
        )


@dataclass(frozen=True)
class _Holder:
    """What a lock of Pulumi's says of who wrote it."""

    pid: int
    user: str
    host: str
    written: datetime

    @property
    def why_dead(self) -> str | None:
        """Why its process can't be alive; None where it is, or lives on a machine that can't be seen from here."""
        return why_gone(self.pid, self.written.timestamp()) if self.host == os.uname().nodename else None


def _was_deployed(backup: Path) -> bool:
    try:
        latest = json.loads(backup.read_text(encoding="utf-8"))["checkpoint"]["latest"]
        return bool(latest and latest.get("resources"))
    except (ValueError, KeyError, TypeError):
        return False
