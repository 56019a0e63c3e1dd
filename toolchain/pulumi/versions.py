"""Which Pulumi this project needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toolchain.failure import SetupError

# Where the versions stand.
REQUIREMENTS = "requirements.txt"
# The oldest CLI that knows everything our SDK asks of it.
OLDEST_CLI = (3, 200, 0)


@dataclass(frozen=True)
class Plugin:
    """A resource plugin, as `resource-<name>-v<version>`."""

    name: str
    version: str

    @property
    def program(self) -> str:
        return f"pulumi-resource-{self.name}"

    @property
    def folder(self) -> str:
        return f"resource-{self.name}-v{self.version}"


@dataclass(frozen=True)
class Versions:
    """The pinned SDK, which is the CLI that is fetched or built too, and the plugins."""

    pulumi: str
    plugins: tuple[Plugin, ...]


def pinned(requirements: Path) -> Versions:
    """Read the pins from `requirements`. Raises `SetupError` where one is missing."""
    pins = dict(re.findall(r"^(pulumi(?:-[a-z]+)?)==([0-9.]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE))
    for name in ("pulumi", "pulumi-docker", "pulumi-command"):
        if name not in pins:
            raise SetupError(f"{requirements.name}: {name}: is not pinned; write {name}==VERSION")
    return Versions(
        pins["pulumi"], (Plugin("docker", pins["pulumi-docker"]), Plugin("command", pins["pulumi-command"]))
    )


def suitable(version: str) -> bool:
    """Whether a CLI that calls itself `version` (such as `v3.256.0`) is new enough, and still major version 3."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version.strip())
    if match is None:
        return False
    number = (int(match[1]), int(match[2]), int(match[3]))
    return OLDEST_CLI <= number < (4, 0, 0)
