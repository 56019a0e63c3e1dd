"""Python packages for an image, resolved outside its build: inside it neither pip nor a CA bundle is needed."""

from __future__ import annotations

from pathlib import Path

from toolchain import content, progress, shell
from toolchain.layout import Layout, cached_folder

PYTHON = "3.11"

# pip takes only the platforms it is told, so the older names of compatible wheels are told too.
_PLATFORMS = {
    "amd64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "arm64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
}


def installed(requirements: Path, architecture: str, layout: Layout) -> Path:
    """A folder with what `requirements` asks for, made for Debian bookworm's CPython on `architecture`."""
    key = content.of_parts([requirements.read_bytes(), PYTHON, architecture])
    folder = layout.cache / "wheels" / key
    with cached_folder(folder) as partial:
        if partial is None:
            return folder
        platforms = [f"--platform={name}" for name in _PLATFORMS[architecture]]
        with progress.step(f"resolving {requirements.relative_to(layout.root)} for the image"):
            shell.run(
                [
                    layout.python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check",
                    "--target", partial, "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}",
                    *platforms, "--requirement", requirements,
                ]
            )  # fmt: skip
    return folder
