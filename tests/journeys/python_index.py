"""Packages of this machine's Python index, where containers of a private engine find them."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine.private_engine import PrivateEngine
from tests.journeys.serving import serving
from toolchain.docker import Docker
from toolchain.images import wheels


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def python_index(engine: PrivateEngine, folder: Path, requirement: str) -> Iterator[str]:
    """The address of an index with `requirement` and all that it needs, in the images and here, as long as this lasts.

    A listing of folders, each named as its project is, is an index (Simple repository API,
    https://packaging.python.org/en/latest/specifications/simple-repository-api/).
    """
    fill(folder, requirement)
    platforms = wheels.platforms(Docker(engine.host).architecture())
    fill(folder, f"--python-version={wheels.PYTHON}", "--implementation=cp", *platforms, requirement)
    with index_of(engine, folder) as address:
        yield address


def fill(folder: Path, *wanted: str) -> None:
    """Make `folder` an index with what `wanted` says (words for `pip download`), beside what it has already."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(folder)]
    subprocess.run([*download, *wanted], check=True)
    for wheel in [*folder.glob("*.whl")]:
        project = folder / re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()
        project.mkdir(exist_ok=True)
        wheel.rename(project / wheel.name)


@contextmanager
def index_of(engine: PrivateEngine, folder: Path) -> Iterator[str]:
    """The address of the index that `folder` is, for as long as this lasts."""
    with serving(engine, functools.partial(_Quiet, directory=str(folder))) as address:
        yield address
