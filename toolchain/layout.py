"""Where things lie: in the checkout (ignored by git), and in the cache that all checkouts share."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The checkout's root and the shared cache."""

    root: Path
    cache: Path

    @property
    def private(self) -> Path:
        """State, passphrase and stamps of this checkout; mode 0700."""
        return self.root / ".promptcraft"

    @property
    def state(self) -> Path:
        """Pulumi's file backend."""
        return self.private / "state"

    @property
    def passphrase(self) -> Path:
        return self.private / "passphrase"

    @property
    def owner(self) -> Path:
        """Who this checkout is on the engine: 16 hexadecimal digits."""
        return self.private / "owner"

    @property
    def images(self) -> Path:
        """What image resolution came to."""
        return self.private / "images.json"

    @property
    def stamp(self) -> Path:
        return self.private / "setup.json"

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"


def layout(environment: Mapping[str, str] = os.environ) -> Layout:
    """The layout of the checkout that this file lies in; `PROMPTCRAFT_CACHE` moves the cache."""
    root = Path(__file__).resolve().parent.parent
    if configured := environment.get("PROMPTCRAFT_CACHE"):
        return Layout(root, Path(configured).absolute())
    base = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Layout(root, Path(base) / "promptcraft")


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold `lock` against every other set-up; the kernel lets go of it even when a holder is killed."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def cached_folder(target: Path) -> Iterator[Path | None]:
    """Yield an empty folder that becomes `target` once it is full, or None where `target` is there already.

    A set-up that dies half-way leaves no `target`, and of two that want the same one waits for the other.
    """
    with locked(target.parent / f"{target.name}.lock"):
        if target.exists():
            yield None
            return
        partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
        try:
            yield partial
            partial.chmod(0o755)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_private(path: Path, text: str) -> None:
    """Replace `path` at once, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    Path(partial).replace(path)
