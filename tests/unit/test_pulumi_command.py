"""What is looked at before pulumi is let near a stack: its environment, its state, its lock (RELIABILITY section 2)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from catalog import PROJECT
from errors import ConfigError
from operate.pulumi_command import PulumiCommand

# Knows the stack, so that nothing has to be made, and remembers that it was asked.
FAKE = """#!/bin/sh
touch "$(dirname "$0")/asked"
echo '[{"name": "dev"}]'
"""
RESOURCES = json.dumps({"checkpoint": {"latest": {"resources": [{}]}}})
# Beyond the largest pid that Linux hands out.
NOBODY = 2**22 + 1


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PulumiCommand:
    (tmp_path / "pulumi").write_text(FAKE)
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    return PulumiCommand(tmp_path, "dev")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / ".pulumi" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def lock(folder: Path, pid: int, host: str) -> Path:
    text = json.dumps({"pid": pid, "hostname": host, "username": "somebody"})
    return write(folder, f"locks/organization/{PROJECT}/dev/one.json", text)


@pytest.mark.parametrize(
    "variable", ["PULUMI_SKIP_CHECKPOINTS", "PULUMI_DISABLE_VALIDATION", "PULUMI_SKIP_INTEGRITY_CHECK"]
)
def test_what_makes_an_update_unsafe_is_refused(
    variable: str, pulumi: PulumiCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(ConfigError, match=f"{variable}: .*unset it"):
        pulumi.ensure_stack()
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (f"stacks/{PROJECT}/dev.json", RESOURCES[:20], r"dev.json:1: state: is damaged .*newest backup that parses"),
        (f"stacks/{PROJECT}/dev.json", "", r"dev.json:1: state: is damaged"),
        (f"stacks/{PROJECT}/dev.json.bak", RESOURCES, r"dev.json:1: state: is gone, but a backup of it is there"),
        (f"locks/organization/{PROJECT}/dev/one.json", "", r"one.json:1: lock: is damaged; .*delete this file"),
    ],
)
def test_a_state_that_is_broken_or_lost_is_no_stack_that_never_was(
    file: str, text: str, expected: str, pulumi: PulumiCommand, tmp_path: Path
) -> None:
    path = write(tmp_path, file, text)
    with pytest.raises(ConfigError, match=expected):
        pulumi.ensure_stack()
    assert path.read_text() == text
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("pid", "host", "stays"),
    [(NOBODY, os.uname().nodename, False), (os.getpid(), os.uname().nodename, True), (NOBODY, "elsewhere", True)],
    # A pid in a name is another in each of pytest's workers.
    ids=["died here", "lives here", "somewhere else"],
)
def test_only_the_lock_of_an_update_that_died_here_is_removed(
    pid: int, host: str, stays: bool, pulumi: PulumiCommand, tmp_path: Path
) -> None:
    path = lock(tmp_path, pid, host)
    pulumi.ensure_stack()
    assert path.exists() is stays
