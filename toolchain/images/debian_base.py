"""A minimal Debian as an image, for where no image registry can be reached."""

from __future__ import annotations

import os
import shutil
from datetime import date
from pathlib import Path

from toolchain import apt, content, progress, shell
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.images import security_index
from toolchain.layout import Layout, cached_folder

# Redis 7.0 comes with it, whose data every later Redis reads.
SERVERS = "bookworm"
# The CPython of the published base image comes with it (images/references.json).
PYTHON = "trixie"
SUITES = frozenset({SERVERS, PYTHON})
VARIANT = "minbase"

# Without it, bookworm merges /usr by a package that brings all of Perl.
_MERGED_USR = "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr"

# Nothing a container reads; without it the image is a third smaller.
_LEFT_OUT = (
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
)


def key(suite: str) -> str:
    """A hash over how the image is made; the mirror is not part of it, since every mirror serves the same archive."""
    return content.of_parts(["mmdebstrap", _MERGED_USR, suite, VARIANT, *_LEFT_OUT])[: content.SHORT]


def tag(suite: str, layout: Layout) -> str:
    """The image's name: how it is made, and when the suite's security index was made."""
    return f"promptcraft.local/base:{key(suite)}{security_index.stamp(layout, suite)}"


def make(suite: str, docker: Docker, layout: Layout) -> None:
    """Bring the base image into the engine. Raises `SetupError` where this machine can't make one."""
    architecture = docker.architecture()
    name = tag(suite, layout).replace("/", "-").replace(":", "-")
    folder = layout.cache / "base" / f"{name}-{architecture}"
    with cached_folder(folder) as partial:
        if partial is not None:
            _bootstrap(suite, partial, architecture)
    with progress.step(f"importing the Debian {suite} base image"):
        docker("import", "--change", 'CMD ["bash"]', folder / "base.tar", tag(suite, layout))


def _bootstrap(suite: str, folder: Path, architecture: str) -> None:
    if os.geteuid() != 0:
        raise SetupError(
            "no image registry can be reached, and making a base image needs root. Either run this as root, or load\n"
            "the images into the engine yourself (docker load) under the names in images/references.json"
        )
    if shutil.which("mmdebstrap") is None:
        apt.install(["mmdebstrap"], "to make a base image")
    removed = " ".join(f'"$1"/{pattern}' for pattern in _LEFT_OUT)
    # It takes security updates at once, which debootstrap leaves to a later upgrade.
    with progress.step(f"making a Debian {suite} base image"):
        shell.run(
            [
                "mmdebstrap",
                "--mode=root",
                f"--variant={VARIANT}",
                f"--architectures={architecture}",
                _MERGED_USR,
                f"--customize-hook=rm -rf {removed}",
                suite,
                folder / "base.tar",
                "-",
            ],
            environment=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=sources_list(suite, apt.mirrors()),
        )


def forget(layout: Layout, before: date) -> None:
    """Remove the tarballs that were made before `before`; the engine has what it imported."""
    for folder in (layout.cache / "base").glob("*/"):
        if date.fromtimestamp(folder.stat().st_mtime) < before:
            shutil.rmtree(folder)


def sources_list(suite: str, mirrors: tuple[apt.Mirror, ...]) -> str:
    """apt's sources inside the image: the suite with its updates, and security updates where they are configured."""
    lines = []
    for mirror in mirrors:
        if mirror.label == "Debian":
            lines += [f"deb {mirror.site} {suite} main", f"deb {mirror.site} {suite}-updates main"]
        elif mirror.label == security_index.LABEL:
            lines.append(f"deb {mirror.site} {suite}-security main")
    return "\n".join(lines) + "\n"
