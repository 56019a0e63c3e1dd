"""The virtual environment `.venv`, filled anew only when its lock changes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from toolchain import apt, content, packages, progress, shell
from toolchain.failure import SetupError
from toolchain.layout import Layout, locked

RUNTIME = "requirements.lock"
DEVELOPMENT = "requirements-dev.lock"


def wanted(root: Path, name: str) -> str:
    """What `.venv` is stamped with once it holds what the lock `name` names."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return content.of_parts([version, (root / name).read_bytes()])


def ensure(layout: Layout, *, development: bool) -> None:
    """Make `.venv` hold what the lock names. Raises `SetupError` where it can't be made or filled."""
    name = DEVELOPMENT if development else RUNTIME
    stamp = _stamp(layout, name)
    with locked(layout.private / "python.lock"):
        hash_ = wanted(layout.root, name)
        if layout.python.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == hash_:
            progress.found(f"Python environment .venv with {name}")
            return
        if not layout.python.is_file():
            _create(layout)
        with progress.step(f"installing {name} into .venv"):
            packages.install(layout.root / name, layout)
        stamp.write_text(hash_, encoding="utf-8")
        if development:  # it includes what the program itself needs
            _stamp(layout, RUNTIME).write_text(wanted(layout.root, RUNTIME), encoding="utf-8")


def _stamp(layout: Layout, name: str) -> Path:
    # In the environment itself, so that deleting it deletes the claim.
    return layout.venv / f".{name}.sha256"


def _create(layout: Layout) -> None:
    shutil.rmtree(layout.venv, ignore_errors=True)
    with progress.step("making the Python environment .venv"):
        try:
            shell.run([sys.executable, "-m", "venv", layout.venv])
        except SetupError:
            shutil.rmtree(layout.venv, ignore_errors=True)
            # Debian keeps what venv needs in a package of its own.
            apt.install(["python3-venv"], "to make a Python environment")
            shell.run([sys.executable, "-m", "venv", layout.venv])
