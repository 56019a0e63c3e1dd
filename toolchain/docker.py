"""The engine as seen through its command line, which knows contexts, TLS and SSH by itself."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from toolchain import shell
from toolchain.failure import SetupError

PING_SECONDS = 8.0


@dataclass(frozen=True)
class Docker:
    """A reachable engine. `host` is its `DOCKER_HOST`, or None where the default needs none."""

    host: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def _environment(self) -> dict[str, str]:
        return dict(self.environment) | ({"DOCKER_HOST": self.host} if self.host else {})

    def __call__(self, *arguments: str | Path, timeout: float | None = None, stdin: str | None = None) -> str:
        """Run `docker ARGUMENTS` and return its stdout. Raises `SetupError` where it fails."""
        return shell.run(["docker", *arguments], environment=self._environment(), timeout=timeout, stdin=stdin)

    def ping(self) -> str | None:
        """The engine's version, or None where it does not answer."""
        try:
            return self("version", "--format", "{{.Server.Version}}", timeout=PING_SECONDS).strip() or None
        except SetupError:
            return None

    def architecture(self) -> str:
        """The engine's architecture in Go's words: amd64, arm64."""
        return self("version", "--format", "{{.Server.Arch}}", timeout=PING_SECONDS).strip()

    def images(self) -> frozenset[str]:
        """Every name an image has there, in one call: `repository:tag` and `repository@digest`."""
        listing = self("image", "ls", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}", timeout=30)
        names = set()
        for line in listing.splitlines():
            repository, tag, digest = line.split(" ")
            names |= {f"{repository}:{tag}", f"{repository}@{digest}"}
        return frozenset(name for name in names if "<none>" not in name)

    def forget(self, pattern: str, before: date, keep: Collection[str]) -> list[str]:
        """Remove the images whose name fits `pattern`, that were made before `before`, and that no container uses.

        Those that `keep` names stay. Returns the names of the others.
        """
        listing = self(
            "image",
            "ls",
            f"--filter=reference={pattern}",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.CreatedAt}}",
            timeout=30,
        )
        rows = [line.split(" ") for line in listing.splitlines()]
        old = [name for name, made, *_ in rows if date.fromisoformat(made) < before and name not in keep]
        return [name for name in old if self._removed(name)]

    def _removed(self, name: str) -> bool:
        try:
            self("image", "rm", name)
        except SetupError:
            return False  # a container has it, or another image stands on it
        return True

    def build(self, context: Path, tag: str, arguments: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """Build `context`, and name it `tag` only once it is whole."""
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        options += [f"--label={name}={value}" for name, value in labels.items()]
        environment = self._environment()
        if shell.answer(["docker", "buildx", "version"]) is None:
            # Without the plugin this client can only talk to the engine's own builder.
            environment["DOCKER_BUILDKIT"] = "0"
        shell.run(["docker", "build", "--quiet", "--tag", tag, *options, context], environment=environment)
