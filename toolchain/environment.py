"""The environment that Pulumi, the tests and a person's shell need after set-up."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain import state
from toolchain.layout import Layout
from toolchain.pulumi.command_line import Cli
from toolchain.pulumi.plugins import Home, configured_home, our_home

# Which checkout a shell was made ready for.
ROOT = "PROMPTCRAFT_ROOT"


@dataclass(frozen=True)
class Ready:
    """What set-up came to; a part that was not asked for is None."""

    cli: Cli | None = None
    home: Home | None = None
    docker_host: str | None = None


def variables(ready: Ready, layout: Layout, environment: Mapping[str, str]) -> dict[str, str]:
    """Only what has to be set or changed; what the user has configured stays as it is."""
    told = {
        "PATH": search_path(
            (layout.venv / "bin", *(ready.cli.folders if ready.cli else ())), environment.get("PATH", "")
        ),
        "VIRTUAL_ENV": str(layout.venv),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        ROOT: str(layout.root),
        **state.variables(layout, environment),
    }
    if ready.home and ready.home.ours:
        told["PULUMI_HOME"] = str(ready.home.path)
        if state.credentials(environment).exists():
            told["PULUMI_CREDENTIALS_PATH"] = environment.get("PULUMI_CREDENTIALS_PATH") or str(
                configured_home(environment)
            )
    if ready.docker_host:
        told["DOCKER_HOST"] = ready.docker_host
    return told


def without_ours(layout: Layout, environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` as it was before `eval "$(make -s env)"`, so that set-up does not take its own work for found.

    Nor another checkout's: a shell that was made ready there must not deploy from here into that one's state.
    """
    before = dict(environment)
    entries = before.get("PATH", "").split(os.pathsep)
    before["PATH"] = os.pathsep.join(
        entry
        for entry in entries
        if entry and not Path(entry).is_relative_to(layout.cache) and entry != str(layout.venv / "bin")
    )
    there = Layout(Path(before.pop(ROOT, layout.root)), layout.cache)
    for name, value in (
        ("PULUMI_HOME", str(our_home(layout))),
        ("PULUMI_BACKEND_URL", there.state.as_uri()),
        ("PULUMI_CONFIG_PASSPHRASE_FILE", str(there.passphrase)),
    ):
        if before.get(name) == value:
            del before[name]
    return before


def search_path(folders: tuple[Path, ...], path: str) -> str:
    """`path` with `folders` first, each of them once, so that it does not grow when it is made twice."""
    ours = [str(folder) for folder in folders]
    return os.pathsep.join([*ours, *(entry for entry in path.split(os.pathsep) if entry and entry not in ours)])


def export_lines(told: Mapping[str, str]) -> str:
    """Lines for a POSIX shell's `eval`."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items())
