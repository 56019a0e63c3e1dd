"""A copy of the project with a stack of its own: own state, locks, home, engine and network, so that neither what a
developer runs nor what else listens on the machine matters."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests
from docker.models.containers import Container

from catalog import LABEL_STACK
from tests.builders import ROOT
from tests.engine.private_engine import PrivateEngine

Result = TypeVar("Result")


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit code and everything it printed."""

    code: int
    text: str


@dataclass(frozen=True)
class Project:
    """One throw-away checkout with one stack on `engine`; `environment` is set for its commands."""

    root: Path
    stack: str
    engine: PrivateEngine
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(
        cls, folder: Path, engine: PrivateEngine, like: str = "dev", config: Mapping[str, object] | None = None
    ) -> Project:
        """Copy what git tracks (and would track) to `folder`, with a stack shaped like the committed stack `like`."""
        root = folder / "project"
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        (root / ".venv").symlink_to(ROOT / ".venv")
        for folder_name in ("state", "locks", "home", "pulumi"):
            (folder / folder_name).mkdir(mode=0o700)
        pulumi_home = Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi"))
        (folder / "pulumi" / "plugins").symlink_to(pulumi_home / "plugins")
        (root / ".promptcraft").mkdir(mode=0o700)
        shutil.copy2(ROOT / ".promptcraft" / "images.json", root / ".promptcraft")
        (root / ".promptcraft" / "owner").write_text(secrets.token_hex(8))
        stack = f"t{secrets.token_hex(3)}"
        project = cls(root, stack, engine)
        project.configure(like, config or {})
        project.environment.update(
            {
                "DOCKER_HOST": engine.host,
                "HOME": str(folder / "home"),
                "MCP_LOCK_DIR": str(folder / "locks"),
                "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
                "PULUMI_CONFIG_PASSPHRASE": secrets.token_hex(16),
                "PULUMI_HOME": str(folder / "pulumi"),
            }
        )
        return project

    def configure(self, like: str, config: Mapping[str, object]) -> None:
        """Write the stack file: the committed one of `like`, with the keys of `config` instead of its own."""
        lines = (ROOT / f"Pulumi.{like}.yaml").read_text(encoding="utf-8")
        for key in config:
            lines = re.sub(rf"(?m)^  promptcraft-hybrid:{key}:.*\n(    - .*\n)*", "", lines)
        added = "".join(f"  promptcraft-hybrid:{key}: {json.dumps(value)}\n" for key, value in config.items())
        (self.root / f"Pulumi.{self.stack}.yaml").write_text(lines + added, encoding="utf-8")

    @property
    def own_file(self) -> Path:
        """Where Pulumi keeps what is this stack's and this machine's own."""
        return self.root / ".promptcraft" / "stacks" / f"Pulumi.{self.stack}.yaml"

    def inside(self, function: Callable[[], Result]) -> Result:
        """Call `function` where the engine's published ports are."""
        return self.engine.namespace.run(function)

    def run(self, *command: str, **environment: str) -> Done:
        """Run a command in the project; never raises for its exit code."""
        done = self._run(command, environment, merged=True)
        return Done(done.returncode, done.stdout)

    def _run(
        self, command: tuple[str, ...], environment: Mapping[str, str], *, merged: bool
    ) -> subprocess.CompletedProcess[str]:
        return self.inside(
            lambda: subprocess.run(
                command,
                cwd=self.root,
                env={**os.environ, **self.environment, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.DEVNULL,
                text=True,
                timeout=300,
                check=False,
            )
        )

    def operate(self, action: str, **environment: str) -> Done:
        """What `make <action>` does once set-up is done."""
        return self.run(".venv/bin/python", "-m", "operate", action, "--stack", self.stack, **environment)

    def pulumi(self, *arguments: str, **environment: str) -> Done:
        """Plain `pulumi`, as somebody would call it by hand."""
        return self.run("pulumi", *arguments, "--stack", self.stack, "--non-interactive", **environment)

    def discover(self, **environment: str) -> dict[str, Any]:
        """The report of `python -m discovery --json`."""
        command = (".venv/bin/python", "-m", "discovery", "--stack", self.stack, "--json")
        done = self._run(command, environment, merged=False)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        text = self.pulumi("stack", "output", "--json").text
        outputs: dict[str, Any] = json.loads(text[text.index("{") :])
        return outputs

    def ask(
        self,
        port: int,
        path: str,
        method: str = "GET",
        *,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 15,
    ) -> requests.Response:
        """Ask a published port of the stack, as somebody on its host would; without an answer for `seconds` raises."""
        url = f"http://127.0.0.1:{port}{path}"
        return self.inside(lambda: requests.request(method, url, json=json, headers=headers, timeout=seconds))

    def containers(self) -> list[Container]:
        """Every container of the stack, running or not."""
        found: list[Container] = self.engine.client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"{LABEL_STACK}={self.stack}"}
        )
        return found

    def leave_nothing(self) -> None:
        """Remove what a failed test may have left of this stack, by its label."""
        for container in self.containers():
            container.remove(force=True)
        mine = {"label": f"{LABEL_STACK}={self.stack}"}
        for network in self.engine.client.networks.list(filters=mine):
            network.remove()
        for volume in self.engine.client.volumes.list(filters=mine):
            volume.remove(force=True)
