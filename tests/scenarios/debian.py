"""Real servers from Debian, unpacked beside the project so that nothing is installed or started on the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from toolchain.layout import cached_folder, locked

from .namespace import outside
from .unavailable import Unavailable

REPOSITORY = Path(__file__).resolve().parents[2]
UNPACKED = REPOSITORY / ".promptcraft" / "debian"


def binary(name: str) -> Path:
    """The path of `redis-server`, `prometheus` or `nginx`. Raises `Unavailable` where Debian cannot be reached."""
    path = _find(name)
    if path is None:
        # The tests' workers are processes, and apt does one thing at a time.
        with locked(UNPACKED / "lock"), cached_folder(UNPACKED / name) as empty:
            if empty is not None:
                outside(partial(_fetch, name, empty))
        path = _find(name)
    if path is None:
        raise Unavailable(f"no {name}: its Debian package does not hold it")
    return path


def library_path(unpacked: Path = UNPACKED) -> str:
    """`LD_LIBRARY_PATH` for libraries that came with an unpacked package."""
    return ":".join(str(folder) for folder in sorted(unpacked.glob("*/usr/lib/*-linux-gnu")))


def copy_for_everybody(program: Path, folder: Path) -> Path:
    """The program for users who may not enter the project: its package's copy below `folder`, or itself outside."""
    if not program.is_relative_to(UNPACKED):
        return program
    package = program.relative_to(UNPACKED).parts[0]
    shutil.copytree(UNPACKED / package, folder / package, symlinks=True)
    return folder / program.relative_to(UNPACKED)


def _find(name: str) -> Path | None:
    path = ":".join(str(UNPACKED / name / folder) for folder in ("usr/bin", "usr/sbin"))
    found = shutil.which(name) or shutil.which(name, path=f"{path}:/usr/sbin")
    return Path(found) if found else None


def _fetch(package: str, folder: Path) -> None:
    archives = folder / "archives"
    archives.mkdir()
    try:
        _download(package, archives)
    except Unavailable:
        # A new machine has no package lists, an old one outdated ones.
        _run("apt-get", "update")
        _download(package, archives)
    for archive in sorted(archives.glob("*.deb")):
        _run("dpkg-deb", "--extract", str(archive), str(folder))
    shutil.rmtree(archives)


def _download(package: str, folder: Path) -> None:
    planned = _run("apt-get", "install", "--simulate", "--no-install-recommends", package)
    # Lines of the shape: Inst redis-server (5:7.0.15-1~deb12u5 Debian:12.11/stable [amd64])
    wanted = re.findall(r"^Inst (\S+)", planned, re.MULTILINE)
    _run("apt-get", "download", *wanted, folder=folder)


def _run(*command: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(command[:2])}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-200:]}")
    return done.stdout
