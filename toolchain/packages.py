"""Python packages as a lock names them, each checked against its hash: by uv where it is, else by pip."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from toolchain import progress, shell
from toolchain.failure import SetupError
from toolchain.layout import Layout

# Wheels only: the build of a source fetches tools that no lock names.
_CHECKED = ("--quiet", "--require-hashes", "--only-binary=:all:")


def uv(layout: Layout) -> Path | None:
    """The uv that development brings, or the machine's own; None where there is neither."""
    ours = layout.venv / "bin" / "uv"
    if ours.is_file():
        return ours
    found = shutil.which("uv")
    # A PATH may name folders from where one stands.
    return Path(found).absolute() if found else None


def install(
    lock: Path, layout: Layout, *, for_uv: Sequence[str | Path] = (), for_pip: Sequence[str | Path] = ()
) -> None:
    """Install what `lock` names into `.venv`, or where the options say. Raises `SetupError` where it can't be had."""
    program = uv(layout)
    if program is not None:
        try:
            command = [program, "pip", "install", *_CHECKED, "--python", layout.python, *for_uv]
            # Not in the project's folder, nor below it: uv takes the index that a uv.toml there names.
            shell.run([*command, "--requirement", lock], cwd=Path("/"))
            return
        except SetupError as error:
            # uv reads none of pip's settings, and a machine's package index may be named in those alone.
            progress.note(
                f"uv can't install {lock.relative_to(layout.root)}, so pip is asked: {str(error).splitlines()[-1]}"
            )
    command = [layout.python, "-m", "pip", "install", *_CHECKED, "--disable-pip-version-check", *for_pip]
    shell.run([*command, "--requirement", lock])
