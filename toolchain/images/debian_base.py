"""A minimal Debian as an image, for where no image registry can be reached."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from toolchain import apt, content, progress, shell
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.layout import Layout, cached_folder

# CPython 3.11 and Redis 7.0 come with it; the images' wheels are resolved for this suite's Python.
SUITE = "bookworm"
VARIANT = "minbase"

# Nothing a container reads; without it the image is a third smaller.
_LEFT_OUT = (
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
)


def tag() -> str:
    """The image's name; the mirror is not part of it, since every mirror serves the same archive."""
    return f"promptcraft.local/base:{content.of_parts([SUITE, VARIANT, *_LEFT_OUT])[: content.SHORT]}"


def make(docker: Docker, layout: Layout) -> None:
    """Bring the base image into the engine. Raises `SetupError` where this machine can't make one."""
    architecture = docker.architecture()
    name = tag().replace("/", "-").replace(":", "-")
    folder = layout.cache / "base" / f"{name}-{architecture}"
    with cached_folder(folder) as partial:
        if partial is not None:
            _bootstrap(partial / "base.tar", architecture)
    with progress.step("importing the Debian base image"):
        docker("import", "--change", 'CMD ["bash"]', folder / "base.tar", tag())


def _bootstrap(tarball: Path, architecture: str) -> None:
    if os.geteuid() != 0:
        raise SetupError(
            "no image registry can be reached, and making a base image needs root. Either run this as root, or load\n"
            "the images into the engine yourself (docker load) under the names in images/references.json"
        )
    if shutil.which("debootstrap") is None:
        apt.install(["debootstrap"], "to make a base image")
    mirrors = apt.mirrors()
    archive = next(mirror.site for mirror in mirrors if mirror.label == "Debian")
    with (
        progress.step(f"making a Debian {SUITE} base image"),
        tempfile.TemporaryDirectory(prefix="promptcraft-base.") as work,
    ):
        target = Path(work) / "root"
        shell.run(
            ["debootstrap", f"--variant={VARIANT}", f"--arch={architecture}", SUITE, target, archive],
            environment=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
        (target / "etc/apt/sources.list").write_text(sources_list(mirrors), encoding="utf-8")
        left_out = [f"--exclude=./{pattern}" for pattern in _LEFT_OUT]
        shell.run(["tar", "--create", "--file", tarball, "--numeric-owner", *left_out, "-C", target, "."])


def sources_list(mirrors: tuple[apt.Mirror, ...]) -> str:
    """apt's sources inside the image: the suite with its updates, and security updates where they are configured."""
    lines = []
    for mirror in mirrors:
        if mirror.label == "Debian":
            lines += [f"deb {mirror.site} {SUITE} main", f"deb {mirror.site} {SUITE}-updates main"]
        elif mirror.label == "Debian-Security":
            lines.append(f"deb {mirror.site} {SUITE}-security main")
    return "\n".join(lines) + "\n"
