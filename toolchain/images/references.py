"""`images/references.json`: the one place where images are named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from toolchain.failure import SetupError

FILE = Path("images") / "references.json"
# Enough to try another version without haste.
NOTICE = timedelta(days=30)
_TEXTS = ("reference", "digest", "source", "end_of_life", "end_of_life_source", "recipe", "stand_in", "suite")
_KEYS = {*_TEXTS, "build"}


@dataclass(frozen=True)
class Build:
    """A Dockerfile's folder in the checkout, and the addresses outside that its build needs.

    `bases` names, for each build argument, the entry that the Dockerfile stands on.
    """

    context: str
    asks: tuple[str, ...]
    bases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """One image. `reference` is an exact tag, or None where it is built from `build`.

    `suite` is set instead of both where the entry is a release of Debian that recipes stand on. `source` says where the
    tag was read. After `end_of_life` nobody mends it; None where it is built here from other entries. `digest` is
    `sha256:…` once `make lock-images` resolved it. `recipe` makes the image where neither can be had; `stand_in` then
    says what runs in the real one's place, or is None where the recipe's is a real one too.
    """

    name: str
    source: str
    reference: str | None = None
    digest: str | None = None
    build: Build | None = None
    recipe: str | None = None
    stand_in: str | None = None
    suite: str | None = None
    end_of_life: date | None = None
    end_of_life_source: str = ""

    @property
    def pullable(self) -> str | None:
        """What to ask a registry for: the digest where it is locked, the tag otherwise."""
        if self.reference is None or self.digest is None:
            return self.reference
        return f"{split(self.reference).name}@{self.digest}"


@dataclass(frozen=True)
class Name:
    """The parts of `[registry/]repository:tag`; `registry` is a host with an optional port."""

    registry: str
    repository: str
    tag: str
    name: str


def split(reference: str) -> Name:
    """Take a tagged reference apart as Docker does. Raises `SetupError` for `latest` or a missing tag."""
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag or tag == "latest":
        raise SetupError(f"{FILE}: {reference}: needs an exact tag, such as redis:7.4.7-bookworm")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = ("docker.io", rest) if first == "docker.io" else (first, rest)
    else:
        registry, repository = "docker.io", name
    if registry == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    return Name(registry, repository, tag, name)


def load(root: Path) -> Mapping[str, Reference]:
    """Every image by the service it is for. Raises `SetupError` naming the file and the key that is wrong."""
    try:
        document = json.loads((root / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SetupError(f"{FILE}: is missing; restore it with `git checkout {FILE}`") from error
    except json.JSONDecodeError as error:
        raise SetupError(f"{FILE}:{error.lineno}: {error.msg}; correct the JSON") from error
    if not isinstance(document, dict):
        raise SetupError(f"{FILE}:1: must be a map of image names")
    return {name: _reference(name, value) for name, value in document.items()}


def _reference(name: str, value: Any) -> Reference:
    if not isinstance(value, dict) or (unknown := set(value) - _KEYS):
        detail = f"unknown key {sorted(unknown)[0]!r}" if isinstance(value, dict) else "must be a map"
        raise SetupError(f"{FILE}: {name}: {detail}; use {', '.join(sorted(_KEYS))}")
    for key in _TEXTS:
        if not isinstance(value.get(key), str | None):
            raise SetupError(f"{FILE}: {name}.{key}: must be text or null")
    build = value.get("build")
    suite = value.get("suite")
    if value.get("reference") is None and build is None and suite is None:
        raise SetupError(f"{FILE}: {name}: needs a reference or a build")
    if value.get("reference") is not None:
        split(value["reference"])
    return Reference(
        name=name,
        source=value.get("source") or "",
        reference=value.get("reference"),
        digest=value.get("digest"),
        build=None if build is None else Build(build["context"], tuple(build["asks"]), build.get("bases", {})),
        recipe=value.get("recipe"),
        stand_in=value.get("stand_in"),
        suite=suite,
        end_of_life=_end_of_life(name, value.get("end_of_life"), wanted=build is None),
        end_of_life_source=value.get("end_of_life_source") or "",
    )


def _end_of_life(name: str, text: str | None, *, wanted: bool) -> date | None:
    if text is None and not wanted:
        return None
    try:
        return date.fromisoformat(text or "")
    except ValueError as error:
        raise SetupError(f"{FILE}: {name}.end_of_life: {text!r} is no date; write it as 2027-05-18") from error


def ending(known: Mapping[str, Reference], today: date) -> list[str]:
    """One line for each image that nobody mends any more in `NOTICE` from `today`, with what to do."""
    return [
        f"{FILE}: {name}.end_of_life: {entry.reference or f'Debian {entry.suite}'} ends on {entry.end_of_life}"
        f" ({entry.end_of_life_source}); name a newer one there with its source and its own end,"
        f"{' and in the Dockerfiles that name it,' if any(name in base for base in _bases(known)) else ''}"
        f"{' and in the recipes that stand on it,' if entry.suite else ''} then run `make lock-images` and `make test`"
        for name, entry in known.items()
        if entry.end_of_life is not None and today >= entry.end_of_life - NOTICE
    ]


def _bases(known: Mapping[str, Reference]) -> list[set[str]]:
    return [set(entry.build.bases.values()) for entry in known.values() if entry.build]
