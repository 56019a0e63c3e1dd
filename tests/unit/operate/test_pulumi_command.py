"""What is looked at before pulumi is let near a stack: its environment, state and lock (docs/reliability.md, 2)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog import PROJECT
from discovery.deployment_lock import BusyError
from discovery.readers.process_identity import identity
from errors import ConfigError
from operate.pulumi_command import PulumiCommand
from tests.builders import ROOT

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


def lock(folder: Path, pid: int, host: str, written: datetime) -> Path:
    text = json.dumps({"pid": pid, "hostname": host, "username": "somebody", "timestamp": written.isoformat()})
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


def test_a_damaged_lock_is_named_and_left(pulumi: PulumiCommand, tmp_path: Path) -> None:
    path = write(tmp_path, f"locks/organization/{PROJECT}/dev/one.json", "")
    with pytest.raises(ConfigError, match=r"one.json:1: lock: is damaged; .*delete this file"):
        pulumi.ensure_unlocked()
    assert path.exists()


NOW = datetime.now(UTC)
HERE = os.uname().nodename


# A pid in a name is another in each of pytest's workers.
@pytest.mark.parametrize(
    ("pid", "written"),
    [(NOBODY, NOW), (os.getpid(), datetime(2026, 1, 1, tzinfo=UTC))],
    ids=["nobody has its number", "a younger process has its number"],
)
def test_the_lock_of_an_update_that_died_here_is_removed(
    pid: int, written: datetime, pulumi: PulumiCommand, tmp_path: Path
) -> None:
    path = lock(tmp_path, pid, HERE, written)
    pulumi.ensure_unlocked()
    assert not path.exists()


@pytest.mark.parametrize(("pid", "host"), [(os.getpid(), HERE), (NOBODY, "elsewhere")], ids=["here", "elsewhere"])
def test_the_lock_of_an_update_that_may_live_is_respected(
    pid: int, host: str, pulumi: PulumiCommand, tmp_path: Path
) -> None:
    path = lock(tmp_path, pid, host, NOW)
    with pytest.raises(BusyError, match=rf"somebody@{host} \(process {pid}, since .*nothing was changed"):
        pulumi.ensure_unlocked()
    with pytest.raises(BusyError), pulumi.standing_still():
        pytest.fail("both hold the lock")
    assert list(path.parent.iterdir()) == [path]


def test_while_a_stack_stands_still_pulumis_own_lock_keeps_others_away(pulumi: PulumiCommand, tmp_path: Path) -> None:
    folder = tmp_path / ".pulumi" / "locks" / "organization" / PROJECT / "dev"
    with pulumi.standing_still():
        [written] = folder.iterdir()
        assert json.loads(written.read_text()).keys() == {"pid", "username", "hostname", "timestamp"}
        with pytest.raises(BusyError), pulumi.standing_still():
            pytest.fail("both hold the lock")
    assert list(folder.iterdir()) == []


ENGINE = """#!/bin/sh
trap 'echo finished; exit 1' INT
echo begun
while :; do sleep 0.1; done
"""
COMMAND = """
import os, sys
from pathlib import Path
from operate.foreground import Interrupted, end_in_good_order, run
end_in_good_order()
try:
    run(sys.argv[1:], Path.cwd(), os.environ, None)
except Interrupted as interruption:
    print(interruption)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that waits for an engine which ends a moment after SIGINT."""
    path = tmp_path / "engine"
    path.write_text(ENGINE)
    path.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_pulumi_finish_and_is_told_in_one_line(
    number: signal.Signals, engine: subprocess.Popen[str]
) -> None:
    engine.send_signal(number)
    assert engine.communicate(timeout=30)[0].splitlines() == [
        "stopping: pulumi finishes what it has begun …",
        "finished",
        f"interrupted by {number.name}",
    ]


def test_when_the_command_is_killed_pulumi_is_asked_to_end(engine: subprocess.Popen[str]) -> None:
    engine.kill()
    assert engine.communicate(timeout=30)[0] == "finished\n"


def test_a_killed_pulumi_takes_along_what_it_left_and_nobody_elses_deployment(
    pulumi: PulumiCommand, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pulumi").write_text(
        '#!/bin/sh\nsleep 60 >/dev/null 2>&1 &\necho $! >"$(dirname "$0")/left"\nkill -9 $$\n'
    )

    def what_was_left() -> int:
        return int((tmp_path / "left").read_text())

    with pulumi.alone("up", print) as alone:
        assert pulumi.run("preview") == 137
        unharmed = what_was_left()
        assert identity(unharmed) is not None
        with subprocess.Popen(["sleep", "60"], pass_fds=[alone.lock or 0]) as working:
            assert pulumi.run("preview") == 137
            assert working.poll() is None
            os.kill(what_was_left(), signal.SIGKILL)
            assert alone.run("up") == 137
            assert identity(working.pid) is None and identity(what_was_left()) is None
    os.kill(unharmed, signal.SIGKILL)
    assert "pulumi was killed by signal 9" in capfd.readouterr().err
