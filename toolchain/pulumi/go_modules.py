"""Build one of the Go modules beside this file, once for each content, into the shared cache."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolchain import content, progress, shell
from toolchain.failure import SetupError
from toolchain.layout import Layout, cached_folder

_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Module:
    """A module's folder under `toolchain/pulumi/`, the package to build in it, and what the program is called."""

    folder: str
    program: str
    package: str = "."
    link_flags: str = ""
    about: str = ""

    @property
    def path(self) -> Path:
        return _FOLDER / self.folder


def build(module: Module, layout: Layout) -> Path:
    """The folder that holds the built program. Raises `SetupError` without Go, or where the build fails."""
    go = shutil.which("go")
    if go is None:
        raise SetupError(
            f"{module.program} is not here and can't be downloaded, so it has to be built, but Go is missing.\n"
            "Install Go 1.21 or later (it fetches the version it needs by itself), or install Pulumi itself."
        )
    flags = f"-s -w {module.link_flags}".strip()
    go_version = shell.run([go, "version"], cwd=module.path).strip()
    key = content.of_parts([content.of_folder(module.path), go_version, flags])
    target = layout.cache / "go" / f"{module.program}-{key[: content.SHORT]}"
    with cached_folder(target) as partial:
        if partial is None:
            return target
        with progress.step(f"building {module.program} from Go modules{module.about}"):
            shell.run(
                [
                    go,
                    "build",
                    "-trimpath",
                    "-buildvcs=false",
                    "-ldflags",
                    flags,
                    "-o",
                    partial / module.program,
                    module.package,
                ],
                cwd=module.path,
                environment=os.environ | {"CGO_ENABLED": "0"},
            )
    return target


def dependency(module: Module, name: str) -> Path:
    """The folder of the module `name` as `module` uses it."""
    return Path(shell.run(["go", "list", "-m", "-f", "{{.Dir}}", name], cwd=module.path).strip())
