"""Pulumi's command line and its Python language host: on PATH, else by the official installer, else built."""

from __future__ import annotations

import shutil
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from toolchain import progress, shell, ways
from toolchain.failure import SetupError
from toolchain.layout import Layout, cached_folder, locked
from toolchain.pulumi import go_modules, versions
from toolchain.pulumi.go_modules import Module
from toolchain.reachability import Outside

# The installer that pulumi.com/docs/install names; the SDK's automation API runs it with the same options.
INSTALLER = "https://get.pulumi.com/install.sh"

LANGUAGE_HOST = "pulumi-language-python"
_SDK = "github.com/pulumi/pulumi/sdk/v3"


@dataclass(frozen=True)
class Cli:
    """A usable `pulumi`, and the folders that must come first on PATH for it (none where it is there already)."""

    program: Path
    folders: tuple[Path, ...] = ()


def obtain(layout: Layout, outside: Outside, version: str, path: str) -> ways.Obtained[Cli]:
    """A CLI with a Python language host; `path` is searched first. Raises `SetupError` where there is none."""
    return ways.first(
        "pulumi",
        (
            ways.Way("found on PATH", lambda: found(path)),
            ways.Way("installed by Pulumi's installer", lambda: _installed(layout, outside, version)),
            ways.Way("built from Go modules", lambda: _built(layout, version)),
        ),
    )


def found(path: str) -> Cli | None:
    """The `pulumi` on `path`, if it is new enough and can run Python programs."""
    program = shutil.which("pulumi", path=path)
    if program is None:
        return None
    version = shell.answer([program, "version"], timeout=20) or ""
    if not versions.suitable(version):
        progress.note(
            f"{program} is {version or 'broken'}; this project needs a 3.x from {_dotted(versions.OLDEST_CLI)}"
        )
        return None
    beside = Path(program).resolve().parent / LANGUAGE_HOST
    if not beside.is_file() and shutil.which(LANGUAGE_HOST, path=path) is None:
        progress.note(f"{program} can't run Python programs: {LANGUAGE_HOST} is missing")
        return None
    return Cli(Path(program))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _installed(layout: Layout, outside: Outside, version: str) -> Cli | None:
    root = layout.cache / "pulumi" / version
    program = root / "bin" / "pulumi"
    with locked(layout.cache / "pulumi.lock"):
        if not program.is_file():
            if not outside.answers(INSTALLER):
                return None
            with progress.step(f"installing pulumi {version}"), tempfile.TemporaryDirectory() as work:
                script = Path(work) / "install.sh"
                try:
                    with urllib.request.urlopen(INSTALLER, timeout=30) as response:
                        script.write_bytes(response.read())
                    shell.run(["sh", script, "--no-edit-path", "--install-root", root, "--version", version])
                except (OSError, SetupError) as error:
                    shutil.rmtree(root, ignore_errors=True)
                    progress.note(f"Pulumi's installer failed: {str(error).splitlines()[-1]}")
                    return None
    return Cli(program, (program.parent,))


def _built(layout: Layout, version: str) -> Cli:
    cli = Module(
        "cli",
        "pulumi",
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        link_flags=f"-X {_SDK}/go/common/version.Version=v{version}",
        about=" (about 4 minutes on 2 cores the first time)",
    )
    host = Module("python-host", LANGUAGE_HOST)
    program, language_host = go_modules.build(cli, layout), go_modules.build(host, layout)
    # In one folder, as an official installation has them: pulumi warns of a language host from elsewhere on PATH.
    bundle = layout.cache / "pulumi" / f"{program.name}+{language_host.name}"
    with cached_folder(bundle) as partial:
        if partial is not None:
            launcher = go_modules.dependency(host, _SDK) / "python" / "cmd" / f"{LANGUAGE_HOST}-exec"
            for source in (program / cli.program, language_host / host.program, launcher):
                shutil.copy2(source, partial)
                (partial / source.name).chmod(0o755)
    return Cli(bundle / cli.program, (bundle,))
