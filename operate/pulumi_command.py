"""Run the `pulumi` command for one stack, with the guards that its file backend lacks (RELIABILITY section 2)."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import PROJECT
from errors import ConfigError

# Each of these lets an update go wrong in silence.
_FORBIDDEN = ("PULUMI_SKIP_CHECKPOINTS", "PULUMI_DISABLE_VALIDATION", "PULUMI_SKIP_INTEGRITY_CHECK")


@dataclass(frozen=True)
class PulumiCommand:
    """`pulumi` for `stack` of the project in `root`."""

    root: Path
    stack: str

    def run(self, *arguments: str, **environment: str) -> int:
        """Run in the foreground, with some variables set; the exit code is pulumi's."""
        environ = {**os.environ, **environment}
        return subprocess.run(self._command(*arguments), cwd=self.root, check=False, env=environ).returncode

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

    def ensure_stack(self) -> None:
        """Create the stack where it does not exist yet. Raises `ConfigError` when its state was lost instead."""
        forbidden = [name for name in _FORBIDDEN if os.environ.get(name)]
        if forbidden:
            raise ConfigError(f"environment: {forbidden[0]}: makes an update unsafe; unset it")
        state = self._state_folder()
        if state is not None:
            _check_state(state, self.stack)
        if self.stack in self._stacks():
            return
        created = subprocess.run(
            self._command("stack", "init", self.stack, "--no-select"),
            cwd=self.root,
            check=False,
            capture_output=True,
            text=True,
        )
        if created.returncode != 0:
            raise ConfigError(self._refused(created.stderr))

    def _refused(self, told: str) -> str:
        """Why the stack could not be made, in one line."""
        file = f"Pulumi.{self.stack}.yaml"
        if "incorrect passphrase" in told:
            return f"{file}: encryptionsalt: belongs to another state than this one; remove that line"
        return f"{file}: stack: pulumi could not create it ({' '.join(told.split())[:300]}); mend that and try again"

    def _stacks(self) -> set[str]:
        """The names of the project's stacks."""
        listed = json.loads(self.read("stack", "ls", "--json") or "[]")
        return {str(stack["name"]).rpartition("/")[2] for stack in listed}

    def _state_folder(self) -> Path | None:
        url = os.environ.get("PULUMI_BACKEND_URL", "")
        return Path(url.removeprefix("file://")) / ".pulumi" if url.startswith("file://") else None

    def _command(self, *arguments: str) -> list[str]:
        return ["pulumi", "--non-interactive", "--cwd", str(self.root), *arguments]


def _check_state(state: Path, stack: str) -> None:
    """Refuse a state that is broken or lost: to pulumi, both can look like a stack that never was."""
    file = state / "stacks" / PROJECT / f"{stack}.json"
    backups = state / "backups" / PROJECT / stack
    newest = f"the newest backup that parses lies in {backups}; copy it to {file}"
    if file.exists():
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{file}:1: state: is damaged ({error}); {newest}") from error
    elif file.with_name(file.name + ".bak").exists() and _was_deployed(file.with_name(file.name + ".bak")):
        raise ConfigError(f"{file}:1: state: is gone, but a backup of it is there; {newest}")
    for lock in (state / "locks" / "organization" / PROJECT / stack).glob("*.json"):
        _check_lock(lock, stack)


def _was_deployed(backup: Path) -> bool:
    try:
        latest = json.loads(backup.read_text(encoding="utf-8"))["checkpoint"]["latest"]
        return bool(latest and latest.get("resources"))
    except (ValueError, KeyError, TypeError):
        return False


def _check_lock(lock: Path, stack: str) -> None:
    """Remove the lock of an update that died on this machine; leave any other for pulumi to respect."""
    try:
        holder = json.loads(lock.read_text(encoding="utf-8"))
        pid, host = int(holder["pid"]), str(holder["hostname"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{lock}:1: lock: is damaged; if no update of {stack} is running, delete this file"
        ) from error
    if host == os.uname().nodename and not Path(f"/proc/{pid}").exists():
        lock.unlink(missing_ok=True)
