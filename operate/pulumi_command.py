"""Run the `pulumi` command for one stack, with the guards that its file backend lacks (docs/reliability.md, 2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from discovery.deployment_lock import Say, end_what_is_left, held, lock_path
from discovery.readers.checkpoint import state_folder
from errors import ConfigError
from operate import foreground
from operate.file_state import FileState
from settings import StackFiles, stack_files

# Each of these lets an update go wrong in silence.
_FORBIDDEN = ("PULUMI_SKIP_CHECKPOINTS", "PULUMI_DISABLE_VALIDATION", "PULUMI_SKIP_INTEGRITY_CHECK")


@dataclass(frozen=True)
class PulumiCommand:
    """`pulumi` for `stack` of the project in `root`. `lock` is the deployment lock's descriptor while it is held."""

    root: Path
    stack: str
    lock: int | None = None

    @contextmanager
    def alone(self, action: str, say: Say) -> Iterator[PulumiCommand]:
        """Hold the stack's deployment lock; yields the command that hands it to each `pulumi`. Raises `BusyError`."""
        owner = foreground.who_asked()
        with held(self.lock_path, f"make {action}", owner, say) as descriptor:
            command = replace(self, lock=descriptor)
            command.ensure_unlocked()
            yield command

    @property
    def lock_path(self) -> Path:
        """Where the stack's deployment lock lies."""
        return lock_path(self.root, self.stack, os.environ)

    @property
    def files(self) -> StackFiles:
        """Where the stack's settings are written."""
        return stack_files(self.root, self.stack)

    def run(self, *arguments: str, **environment: str) -> int:
        """Run in the foreground, with some variables set; the exit code is pulumi's. Raises `Interrupted`."""
        command = self._command(*arguments)
        code = foreground.run(command, self.root, {**os.environ, **environment}, self.lock)
        if code >= 0:
            return code
        # Without the lock, whoever holds it is another deployment.
        if self.lock is not None:
            end_what_is_left(self.lock_path)
        sys.stderr.write(f"pulumi was killed by signal {-code}; the same command again goes on from here\n")
        # As a shell says it.
        return 128 - code

    def read(self, *arguments: str) -> str | None:
        """What a command prints, or None when it fails."""
        done = subprocess.run(self._command(*arguments), cwd=self.root, check=False, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def feed(self, text: str, *arguments: str) -> str | None:
        """Run a command with `text` as its input; None, or what it complains of."""
        done = subprocess.run(
            self._command(*arguments), cwd=self.root, check=False, input=text, capture_output=True, text=True
        )
        return None if done.returncode == 0 else done.stderr.strip()

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; empty before the first deployment."""
        text = self.read("stack", "output", "--json", "--stack", self.stack)
        outputs: dict[str, Any] = json.loads(text) if text else {}
        return outputs

    def secrets(self) -> dict[str, str]:
        """The stack's own secrets by full key, decrypted, as Pulumi hands them to its program; none where it can't."""
        text = self.read("config", "--json", "--show-secrets", "--stack", self.stack)
        # {"promptcraft-hybrid:redisPassword": {"value": "…", "secret": true}, …}
        return {key: str(entry["value"]) for key, entry in json.loads(text or "{}").items() if entry["secret"]}

    def ensure_stack(self) -> None:
        """Create the stack where it does not exist yet. Raises `ConfigError` when its state was lost instead."""
        forbidden = [name for name in _FORBIDDEN if os.environ.get(name)]
        if forbidden:
            raise ConfigError(f"environment: {forbidden[0]}: makes an update unsafe; unset it")
        state = self._state
        if state is not None:
            state.check()
        if self.stack in self._stacks():
            return
        created = subprocess.run(
            self._command("stack", "init", self.stack, "--no-select"),
            cwd=self.root,
            check=False,
            capture_output=True,
            text=True,
        )
        if created.returncode != 0 and self.stack not in self._stacks():
            raise ConfigError(self._refused(created.stderr))

    def ensure_unlocked(self) -> None:
        """Remove the lock of an update that died here. Raises `BusyError` where one is at work."""
        if self._state is not None:
            self._state.ensure_unlocked()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Keep every other `pulumi` away from the stack for a while. Raises `BusyError` where one is at work.

        Only a file backend's lock can be held by others than Pulumi itself.
        """
        with self._state.locked() if self._state is not None else nullcontext():
            yield

    def _refused(self, told: str) -> str:
        """Why the stack could not be made, in one line."""
        file = self.files.own
        if "incorrect passphrase" in told:
            return f"{file}: encryptionsalt: belongs to another state than this one; remove that line"
        return f"{file}: stack: pulumi could not create it ({' '.join(told.split())[:300]}); mend that and try again"

    def _stacks(self) -> set[str]:
        """The names of the project's stacks."""
        listed = json.loads(self.read("stack", "ls", "--json") or "[]")
        return {str(stack["name"]).rpartition("/")[2] for stack in listed}

    @property
    def _state(self) -> FileState | None:
        folder = state_folder(self.root, os.environ)
        return None if folder is None else FileState(folder / ".pulumi", self.stack)

    def _command(self, *arguments: str) -> list[str]:
        return ["pulumi", "--non-interactive", "--cwd", str(self.root), *arguments]
