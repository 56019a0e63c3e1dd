"""Copies of the program with one rule taken out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .debian import REPOSITORY

_ALTERED_ROOMS = ("discovery", "reading", "settings")


@dataclass(frozen=True)
class Alteration:
    """In `file`, the text `rule`, which must stand there once, becomes `instead`."""

    file: str
    rule: str
    instead: str


@contextmanager
def altered(alteration: Alteration | None) -> Iterator[Path]:
    """The folder of the program with the alteration; that of the repository itself without one.

    Raises `LookupError` where the rule's text is not in its file exactly once: then it has moved.
    """
    if alteration is None:
        yield REPOSITORY
        return
    with tempfile.TemporaryDirectory(prefix="promptcraft-altered-") as name:
        folder = Path(name)
        _copy(folder)
        path = folder / alteration.file
        assert path.resolve().is_relative_to(folder.resolve()), f"{alteration.file} is a link into the program itself"
        text = path.read_text()
        if text.count(alteration.rule) != 1:
            raise LookupError(
                f"{alteration.file}: {text.count(alteration.rule)} times {alteration.rule!r}, expected once"
            )
        path.write_text(text.replace(alteration.rule, alteration.instead))
        yield folder


def _copy(folder: Path) -> None:
    """What `python -m discovery` imports: the top modules, the rooms that are altered, and links to the others."""
    for entry in REPOSITORY.iterdir():
        if entry.suffix == ".py":
            shutil.copy2(entry, folder)
        elif entry.name in _ALTERED_ROOMS:
            # With the compiled files: they stay valid for what is not altered.
            shutil.copytree(entry, folder / entry.name)
        elif entry.is_dir() and not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry)
