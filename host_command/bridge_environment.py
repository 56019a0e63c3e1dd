"""The Python environment of the bridge: made once for each lock of requirements, in the cache that checkouts share."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from host_command.failure import HostCommandError

_TAIL_LINES = 5


def cache_of(environ: Mapping[str, str]) -> Path:
    """Where promptcraft keeps what it makes; `PROMPTCRAFT_CACHE` moves it, as it does for set-up.

    Said here once more, since a machine with Pulumi of its own needs nothing of `toolchain/`.
    """
    if configured := environ.get("PROMPTCRAFT_CACHE"):
        return Path(configured).absolute()
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "promptcraft"


def ensure(requirements: Path, environ: Mapping[str, str]) -> Path:
    """The Python that has what the lock `requirements` names. Raises `HostCommandError` where that can't be had."""
    text = requirements.read_bytes()
    key = hashlib.sha256(b"\0".join((text, sys.base_prefix.encode(), sys.version.encode()))).hexdigest()[:12]
    folder = cache_of(environ) / "host-bridges" / key
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    python, stamp = folder / "bin" / "python", folder / "complete"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            # pip fills it from outside, so that Debian's python3-venv is not needed.
            venv.create(folder, symlinks=True)
            _install(python, requirements, environ)
            stamp.touch()
    return python


def _install(python: Path, requirements: Path, environ: Mapping[str, str]) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        # Wheels only: the build of a source fetches tools that no lock names.
        [*pip, "--require-hashes", "--only-binary=:all:", "--requirement", str(requirements)],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:])
        raise HostCommandError(
            f"the bridge's packages ({requirements.name}) can't be installed; mend that, or set allowHostCommands to "
            f"false:\n{told}"
        )
