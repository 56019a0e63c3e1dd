"""One deployment of a stack at a time: who holds the lock, who inherited it, and what a killed one leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from discovery.deployment_lock import BusyError, end_what_is_left, held, lock_path
from discovery.readers.process_identity import ProcessIdentity, identity
from errors import ConfigError
from tests.builders import ROOT

# Takes the lock that it is told, starts a child that inherits it, says the child's number, and waits for its end.
HOLDER = """
import subprocess, sys, os
from pathlib import Path
from discovery.deployment_lock import held
from discovery.readers.process_identity import identity
with held(Path(sys.argv[1]), "make up", identity(os.getpid()), print) as lock:
    child = subprocess.Popen([sys.argv[2], "60"], pass_fds=[lock], start_new_session=True)
    print(child.pid, flush=True)
    sys.stdin.read()
    child.kill()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "state" / "stack.lock"


def this() -> ProcessIdentity:
    found = identity(os.getpid())
    assert found is not None
    return found


@contextmanager
def another(lock: Path, child: str = "sleep") -> Iterator[tuple[subprocess.Popen[str], ProcessIdentity]]:
    """Another command that holds `lock`, and the child that inherited it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock), child],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        inherited = identity(int(process.stdout.readline()))
        assert inherited is not None
        try:
            yield process, inherited
        finally:
            process.kill()
            if inherited.lives:
                os.kill(inherited.pid, signal.SIGKILL)


def test_a_second_command_is_told_who_works_and_waits_for_nothing(lock: Path) -> None:
    with another(lock) as (process, _):
        with (
            pytest.raises(BusyError, match=rf"make up \(process {process.pid}, since .*nothing was changed"),
            held(lock, "make up", this(), print),
        ):
            pytest.fail("both hold the lock")
        process.communicate("")
    with held(lock, "make up", this(), print):
        pass


def test_what_a_killed_command_left_at_work_is_ended_before_the_next_begins(lock: Path) -> None:
    told: list[str] = []
    with another(lock) as (process, child):
        process.kill()
        process.wait()
        assert child.lives
        with held(lock, "make up", this(), told.append):
            assert not child.lives
    assert len(told) == 1
    assert "make up" in told[0] and "was killed" in told[0]


def test_an_engine_whose_command_was_killed_may_finish_what_it_has_begun(lock: Path, tmp_path: Path) -> None:
    # The kernel names a process after its program's file: this one counts as Pulumi's engine, and ends by itself.
    engine = tmp_path / "pulumi"
    engine.write_text(f"#!{sys.executable}\nimport sys, time\ntime.sleep(4)\n")
    engine.chmod(0o755)
    with another(lock, str(engine)) as (process, child):
        process.kill()
        process.wait()
        with held(lock, "make up", this(), print):
            # Sooner, it would have been ended: what has no engine gets less time than that.
            assert not child.lives


def test_what_a_killed_engine_left_is_ended_and_the_holder_goes_on(lock: Path) -> None:
    with (
        held(lock, "make up", this(), print) as descriptor,
        subprocess.Popen(["sleep", "60"], pass_fds=[descriptor]) as left,
    ):
        end_what_is_left(lock)
        assert identity(left.pid) is None


def test_whoever_has_the_killed_holders_number_now_is_not_waited_for(lock: Path) -> None:
    with another(lock) as (process, child):
        process.kill()
        process.wait()
        recycled = {"command": "make up", "pid": os.getpid(), "birth": "another boot 1", "since": "then"}
        lock.write_text(json.dumps(recycled))
        with held(lock, "make up", this(), print):
            assert not child.lives


# What Pulumi runs: an update's program, which joins the deployment that started its engine, or is one itself.
PROGRAM = """
import os, sys
from pathlib import Path
from discovery import deployment_lock
deployment_lock.join(Path(sys.argv[1]), "dev", os.environ)
print("alone", flush=True)
sys.stdin.read()
"""
ENGINE = f"""#!{sys.executable}
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "-c", {PROGRAM!r}, sys.argv[1]]))
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "pulumi"
    path.write_text(ENGINE)
    path.chmod(0o755)
    return path


def updates(engine: Path, root: Path) -> subprocess.Popen[str]:
    """An update by hand: its engine, whose program says whether it may go on."""
    return subprocess.Popen(
        [engine, root],
        cwd=ROOT,
        env={**os.environ, "PULUMI_BACKEND_URL": f"file://{root}", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_update_by_hand_and_a_command_keep_each_other_out(engine: Path, tmp_path: Path) -> None:
    lock = lock_path(tmp_path, "dev", {"PULUMI_BACKEND_URL": f"file://{tmp_path}"})
    with updates(engine, tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "alone\n"
        with (
            pytest.raises(BusyError, match=rf"pulumi \(process {first.pid}, since"),
            held(lock, "make up", this(), print),
        ):
            pytest.fail("both hold the lock")
        with updates(engine, tmp_path) as second:
            assert f"pulumi (process {first.pid}" in second.communicate("")[1]
        assert first.communicate("")[1] == ""
    with another(lock) as (process, _), updates(engine, tmp_path) as third:
        assert f"make up (process {process.pid}" in third.communicate("")[1]


def test_an_update_that_the_command_itself_started_joins_it(engine: Path, tmp_path: Path) -> None:
    lock = lock_path(tmp_path, "dev", {"PULUMI_BACKEND_URL": f"file://{tmp_path}"})
    with held(lock, "make up", this(), print), updates(engine, tmp_path) as own:
        assert own.communicate("") == ("alone\n", "")


def test_what_an_engine_killed_by_hand_left_is_ended(engine: Path, tmp_path: Path) -> None:
    lock = lock_path(tmp_path, "dev", {"PULUMI_BACKEND_URL": f"file://{tmp_path}"})
    with updates(engine, tmp_path) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "alone\n"
        [program] = psutil.Process(killed.pid).children()
        killed.kill()
        killed.wait()
        with held(lock, "make up", this(), print):
            assert not program.is_running()


def test_a_lock_that_is_no_file_of_ours_is_named(lock: Path) -> None:
    lock.parent.mkdir()
    lock.symlink_to("/etc/passwd")
    with (
        pytest.raises(ConfigError, match=r"stack.lock:1: lock: cannot be opened"),
        held(lock, "make up", this(), print),
    ):
        pytest.fail("a link was followed")
