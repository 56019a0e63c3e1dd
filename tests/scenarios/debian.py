"""Real servers from Debian, unpacked beside the project so that nothing is installed or started on the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from pathlib import Path

from .namespace import outside
from .unavailable import Unavailable

REPOSITORY = Path(__file__).resolve().parents[2]
UNPACKED = REPOSITORY / ".promptcraft" / "debian"

_lock = threading.Lock()


def binary(name: str) -> Path:
    """The path of `redis-server`, `prometheus` or `nginx`. Raises `Unavailable` where Debian cannot be reached."""
    with _lock:
        path = _find(name)
        if path is None:
            outside(lambda: _fetch(name))
            path = _find(name)
    if path is None:
        raise Unavailable(f"no {name}: its Debian package does not hold it")
    return path


def library_path() -> str:
    """`LD_LIBRARY_PATH` for libraries that came with an unpacked package."""
    return ":".join(str(UNPACKED / folder) for folder in ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"))


def _find(name: str) -> Path | None:
    path = ":".join(str(UNPACKED / folder) for folder in ("usr/bin", "usr/sbin"))
    found = shutil.which(name) or shutil.which(name, path=f"{path}:/usr/sbin")
    return Path(found) if found else None


def _fetch(package: str) -> None:
    try:
        _unpack(package)
    except Unavailable:
        # A fresh machine has no lists of packages, an old one outdated ones.
        _run("apt-get", "update")
        _unpack(package)


def _unpack(package: str) -> None:
    folder = UNPACKED / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _download(package, folder)
    except Unavailable:
        # A new machine has no package lists, an old one outdated ones.
        _run("apt-get", "update")
        _download(package, folder)
    for archive in folder.glob("*.deb"):
        _run("dpkg-deb", "--extract", str(archive), str(UNPACKED))
        archive.unlink()


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
