"""Python packages for an image, fetched outside its build: inside it neither pip nor a CA bundle is needed."""

from __future__ import annotations

from pathlib import Path

from toolchain import content, packages, progress
from toolchain.layout import Layout, cached_folder

# As in the published base image and in Debian trixie.
PYTHON = "3.13"

# pip takes only the platforms it is told, so the older names of compatible wheels are told too.
_PLATFORMS = {
    "amd64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "arm64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
}
_UV_PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}


def platforms(architecture: str) -> tuple[str, ...]:
    """pip's options for the platforms whose wheels run in an image."""
    return tuple(f"--platform={name}" for name in _PLATFORMS[architecture])


def installed(lock: Path, architecture: str, layout: Layout) -> Path:
    """A folder with what `lock` names, made for the images' CPython on `architecture`."""
    key = content.of_parts([lock.read_bytes(), PYTHON, architecture])
    folder = layout.cache / "wheels" / key
    with cached_folder(folder) as partial:
        if partial is None:
            return folder
        # The lock is the whole list: a dependency under a condition would be judged by the Python that installs.
        common = ("--no-deps", "--target", partial, f"--python-version={PYTHON}")
        with progress.step(f"fetching {lock.relative_to(layout.root)} for the image"):
            packages.install(
                lock,
                layout,
                for_uv=(*common, f"--python-platform={_UV_PLATFORMS[architecture]}"),
                for_pip=(*common, "--no-compile", "--implementation=cp", *platforms(architecture)),
            )
    return folder
