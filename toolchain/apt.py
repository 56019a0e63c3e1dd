"""Debian's packages on the host, and the mirrors this machine is configured to use."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain import progress, shell
from toolchain.failure import SetupError

# Set-up does several things at once, and apt one.
_alone = threading.RLock()


@dataclass(frozen=True)
class Mirror:
    """One configured archive: where it is, and its label (`Debian` or `Debian-Security`)."""

    site: str
    label: str


def can_install() -> bool:
    """Whether this process may install Debian packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str], purpose: str) -> None:
    """Install `packages` from the configured archives. Raises `SetupError` where that is not possible."""
    if not can_install():
        raise SetupError(
            f"{purpose} needs Debian's {', '.join(packages)}. Run as root:\n"
            f"  apt-get update && apt-get install -y {' '.join(packages)}"
        )
    with _alone, progress.step(f"installing {', '.join(packages)} ({purpose})"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        update()
        shell.run(["apt-get", "install", "-y", "--no-install-recommends", *packages], environment=environment)


def update() -> None:
    """Refresh the package lists."""
    with _alone:
        shell.run(["apt-get", "update", "-q"])


def mirrors() -> tuple[Mirror, ...]:
    """The Debian archives in apt's own configuration. Raises `SetupError` where there is none."""
    found = _configured()
    if not found and can_install():
        update()  # labels are known only once the lists have been fetched
        found = _configured()
    if not any(mirror.label == "Debian" for mirror in found):
        raise SetupError("no Debian archive is configured in apt; base images can't be made on this machine")
    return found


def _configured() -> tuple[Mirror, ...]:
    listing = shell.answer(["apt-get", "indextargets", "--format", "$(SITE)|$(LABEL)|$(ORIGIN)"], timeout=30) or ""
    rows = [line.split("|") for line in listing.splitlines() if line.count("|") == 2]
    return tuple(dict.fromkeys(Mirror(site, label) for site, label, origin in rows if origin == "Debian"))
