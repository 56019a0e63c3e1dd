"""mypy over the programs that run with other versions of packages than the tests, each with those that it runs with."""

from __future__ import annotations

import os
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from toolchain import content
from toolchain.images import wheels
from toolchain.layout import Layout
from toolchain.requirement_locks import DEVELOPMENT, LOCKS, Lock

# Each folder has programs of its own, which name their neighbours without a package; so each is checked by itself. One
# with a lock and no program has a program that is not ours.
APART = {
    str(Path(lock.requirements).parent): lock.within or lock
    for lock in LOCKS
    if lock.requirements.startswith(("images/", "host_command/"))
}


def _with_programs(layout: Layout) -> dict[str, Lock]:
    return {folder: lock for folder, lock in APART.items() if any((layout.root / folder).glob("*.py"))}


def run(layout: Layout) -> int:
    """Print what mypy finds; the exit code is 0 where it finds nothing. Needs the `.venv` of development."""
    apart = _with_programs(layout)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda item: _checked(layout, *item), apart.items()))
    for folder, (_, told) in zip(apart, results, strict=True):
        print(f"{folder}: {told}", end="")
    return max(code for code, _ in results)


def _checked(layout: Layout, folder: str, lock: Lock) -> tuple[int, str]:
    files = [path for path in content.files_of(layout.root / folder) if path.suffix == ".py"]
    # The folders' modules share names, so each has a cache of its own.
    options = ["--strict", f"--cache-dir=.mypy_cache/{folder}"]
    with _python(layout, lock) as python:
        done = subprocess.run(
            [layout.venv / "bin" / "mypy", *options, f"--python-executable={python}", *files],
            cwd=layout.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return done.returncode, done.stdout


@contextmanager
def _python(layout: Layout, lock: Lock) -> Iterator[Path]:
    """An interpreter for mypy to ask where the packages of `lock` are."""
    if lock == DEVELOPMENT:
        yield layout.python
        return
    # Their types are the same for every architecture.
    packages = wheels.installed(layout.root / lock.file, "amd64", layout)
    with tempfile.TemporaryDirectory(prefix="promptcraft-types.") as work:
        venv.create(work, symlinks=True)
        (site,) = Path(work).glob("lib/python*/site-packages")
        (site / "image.pth").write_text(f"{packages}\n", encoding="utf-8")
        yield Path(work) / "bin" / "python"
