"""Where a stack's settings are written: in the committed `Pulumi.<stack>.yaml`, and over it in this machine's own.

Pulumi writes to its stack file whenever it likes: a salt at the first command, every secret that is generated or set.
None of it is the project's, so `stackConfigDir` in Pulumi.yaml sends it to a folder that git ignores. Where that is the
project's folder itself, both are the same file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from catalog import PROJECT
from errors import ConfigError

# What Pulumi itself reads at the top of a stack file, besides the salt that it makes anew where there is none.
# Source: https://www.pulumi.com/docs/iac/concepts/projects/stack-settings-file/
PULUMIS_OWN = ("secretsprovider", "encryptedkey", "environment")

_KEPT_AT_THE_TOP = (*PULUMIS_OWN, "encryptionsalt")


@dataclass(frozen=True)
class StackFiles:
    """The files of `stack`, as paths from the project's folder: the committed one, and the one that Pulumi writes."""

    stack: str
    committed: str
    own: str

    @property
    def folder(self) -> str:
        return Path(self.own).parent.as_posix()


def stack_files(root: Path, stack: str) -> StackFiles:
    """The files of `stack`. Raises `ConfigError` for a name that no stack can have."""
    name = f"Pulumi.{stack}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", stack):
        raise ConfigError(f"{name[:80]!r}:1: stack: not a stack's name; use letters, digits and hyphens")
    return StackFiles(stack, committed=name, own=(Path(_folder(root)) / name).as_posix())


def _folder(root: Path) -> str:
    # Whether Pulumi.yaml is whole is for those to say who read its settings.
    try:
        document = yaml.safe_load((root / "Pulumi.yaml").read_text(encoding="utf-8"))
        return str(document.get("stackConfigDir") or ".")
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return "."


def bring_along(root: Path, files: StackFiles) -> bool:
    """Copy what Pulumi once wrote into the committed file to where it reads now; whether there was any.

    The committed file stays as it is. Only once: where Pulumi's file is there already, that one counts.
    """
    source, target = root / files.committed, root / files.own
    if source == target or target.exists() or not source.is_file():
        return False
    try:
        document = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # who reads the settings says what is wrong with it
    if not isinstance(document, dict):
        return False
    kept: dict[str, Any] = {key: document[key] for key in _KEPT_AT_THE_TOP if key in document}
    config = document.get("config")
    settings = config if isinstance(config, dict) else {}
    if pulumis := {key: value for key, value in settings.items() if is_encrypted(value) or is_foreign(str(key))}:
        kept["config"] = pulumis
    if kept:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # At once, or not at all: what is there counts from then on.
        draft = target.with_suffix(".draft")
        draft.write_text(yaml.safe_dump(kept), encoding="utf-8")
        draft.replace(target)
    return bool(kept)


def is_encrypted(value: Any) -> bool:
    """Whether a value of a stack file is a secret that Pulumi encrypted."""
    return isinstance(value, dict) and "secure" in value


def is_foreign(key: str) -> bool:
    """Whether a key of a stack file belongs to another namespace, which only Pulumi and its providers read."""
    return not key.startswith(f"{PROJECT}:")
