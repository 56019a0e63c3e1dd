"""Which image each service runs: `images/references.json`, what set-up found on this machine, the stack's own choice.

The stack's `images` wins over `.promptcraft/images.json` (written by set-up, so that a machine without an image
registry uses what it built), which wins over `images/references.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from catalog import EGRESS, EXPORTERS_IMAGE, PROJECT, RUNNER, SERVICES
from errors import ConfigError
from reading.text import shown

REFERENCES = "images/references.json"
RESOLVED = ".promptcraft/images.json"

# name[:tag][@digest], as the engine's reference grammar has it (distribution/reference).
_REFERENCE = re.compile(
    r"(?:[a-z0-9.-]+(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)


@dataclass(frozen=True)
class Image:
    """An image by exact tag or digest; `build` is the folder it is built from where nobody publishes it.

    `stand_in` says what runs in the real one's place. `vouched_for`: the stack's `images` names it as the real one, for
    a service that a stand-in could be taken for.
    """

    reference: str
    stand_in: str | None = None
    build: str | None = None
    vouched_for: bool = False


Model = TypeVar("Model", bound=BaseModel)


class _Build(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    context: str


class _Listed(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    reference: str | None
    digest: str | None = None
    stand_in: str | None = None
    build: _Build | None = None


class _Resolved(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    reference: str
    stand_in: str | None = None


def load_images(root: Path, chosen: Mapping[str, str]) -> dict[str, Image]:
    """The image of every service in the catalog, and the exporters'.

    Raises `ConfigError` for a reference with no exact version.
    """
    entries = {name: _parsed(_Listed, value, REFERENCES, name) for name, value in _read(root, REFERENCES).items()}
    resolved: dict[str, _Resolved] = {}
    if (root / RESOLVED).exists():
        resolved = {name: _parsed(_Resolved, value, RESOLVED, name) for name, value in _read(root, RESOLVED).items()}
    images = {}
    for name in (*SERVICES, EXPORTERS_IMAGE, RUNNER.name, EGRESS.name):
        if name not in entries:
            raise ConfigError(f"{REFERENCES}:1: {name}: has no image; name it there by its exact tag")
        if name in chosen:
            images[name] = Image(_exact(chosen[name], name), vouched_for=entries[name].stand_in is not None)
        elif name in resolved:
            images[name] = Image(resolved[name].reference, resolved[name].stand_in)
        else:
            images[name] = _published(root, name, entries[name])
    return images


def _published(root: Path, name: str, entry: _Listed) -> Image:
    if entry.reference is not None:
        return Image(entry.reference + (f"@{entry.digest}" if entry.digest else ""))
    if entry.build is None:
        raise ConfigError(f"{REFERENCES}:1: {name}: has neither a reference nor a build; give one of them")
    return Image(f"{PROJECT}/{name}:{_content_hash(root / entry.build.context)}", build=entry.build.context)


def _content_hash(folder: Path) -> str:
    """12 hex digits over names and contents, so that a tag names exactly what it was built from."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in relative.parts and "tests" not in relative.parts:
            digest.update(f"{relative}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _exact(reference: str, service: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    if match is None or not (match["tag"] or match["digest"]) or match["tag"] == ":latest":
        raise ConfigError(
            f"pulumi config: images.{service}: {shown(reference)} is not an exact image; "
            "write name:tag or name@sha256:…"
        )
    return reference


def _read(root: Path, file: str) -> dict[str, Any]:
    try:
        document = json.loads((root / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}:1: file: cannot be read ({error}); restore it") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{file}:1: file: must be an object of services; restore it")
    return document


def _parsed(model: type[Model], value: Any, file: str, name: str) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        key = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigError(f"{file}:1: {key}: {first['msg']}; correct it") from invalid
