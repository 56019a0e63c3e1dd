"""Each `requirements*.txt` says what we want; the `.lock` beside it names all that comes with it, with hashes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain import packages, progress, shell
from toolchain.failure import SetupError
from toolchain.images import wheels
from toolchain.layout import Layout

# Whatever Python a person has, from 3.11 on: what differs stands under a condition.
_ANYWHERE = (("--universal", "--python-version=3.11"),)
# One Python, so nothing stands under a condition: pip judges those by the Python it runs on, not by the image's.
_IN_IMAGES = tuple(
    (f"--python-platform={machine}-manylinux_2_28", f"--python-version={wheels.PYTHON}")
    for machine in ("x86_64", "aarch64")
)


@dataclass(frozen=True)
class Lock:
    """A file of requirements, relative to the checkout, and where they are installed.

    What it shares with the lock `within` has the same version there: what runs in an image is what was tested.
    """

    requirements: str
    targets: tuple[tuple[str, ...], ...]
    within: Lock | None = None

    @property
    def file(self) -> str:
        return str(Path(self.requirements).with_suffix(".lock"))


DEVELOPMENT = Lock("requirements-dev.txt", _ANYWHERE)
RUNNER = Lock("images/runner/requirements.txt", _IN_IMAGES)
LOCKS = (
    DEVELOPMENT,
    Lock("requirements.txt", _ANYWHERE, DEVELOPMENT),
    Lock("gateway/requirements.txt", _IN_IMAGES, DEVELOPMENT),
    Lock("images/offline/grafana/requirements.txt", _IN_IMAGES, DEVELOPMENT),
    Lock("images/offline/qdrant/requirements.txt", _IN_IMAGES, DEVELOPMENT),
    RUNNER,
    Lock("images/zen-mcp/requirements.txt", _IN_IMAGES, RUNNER),
    Lock("images/zen-mcp/pal/requirements.txt", _IN_IMAGES),
    Lock("host_command/bridge/requirements.txt", _ANYWHERE, RUNNER),
)


def write(layout: Layout, *, upgrade: bool) -> None:
    """Write every lock. What a lock names already keeps its version where it can, unless with `upgrade`.

    Raises `SetupError` where uv is missing, or where requirements can't be met.
    """
    uv = packages.uv(layout)
    if uv is None:
        raise SetupError("uv is needed to lock requirements; run `make setup`, which brings it")
    for lock in LOCKS:
        with progress.step(f"locking {lock.requirements}"):
            texts = {_resolved(uv, layout, lock, target, upgrade=upgrade) for target in lock.targets}
        if len(texts) > 1:
            raise SetupError(f"{lock.file}: amd64 and arm64 need different packages, and an image has one list")


def _resolved(uv: Path, layout: Layout, lock: Lock, target: tuple[str, ...], *, upgrade: bool) -> str:
    shell.run(
        [
            # Wheels only, as when they are installed: the build of a source fetches tools that no lock names.
            uv, "pip", "compile", "--quiet", "--generate-hashes", "--only-binary=:all:",
            "--custom-compile-command=make lock", *target,
            *(["--upgrade"] if upgrade else ()),
            *(["--constraints", lock.within.file] if lock.within else ()),
            "--output-file", lock.file, lock.requirements,
        ],
        cwd=layout.root,
    )  # fmt: skip
    return (layout.root / lock.file).read_text(encoding="utf-8")
