"""Commands of this host, really started and stopped: one at a time, only as planned, and never a stranger ended."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from discovery.probes.user_files import user_files
from discovery.readers import process_identity
from discovery.readers.host_records import Record
from discovery.report import HostLaunch
from host_command import bridge_environment, entry, handshake, processes
from host_command.command import Command
from host_command.failure import HostCommandError
from host_command.starting import BRIDGE, Wanted, start
from tests.builders import ROOT
from tests.unit.asking import request_in, write
from tests.waiting import until
from toolchain.layout import layout

EVIDENCE = "~/.claude.json: mcpServers.notes"
SECRET = "geheim-5d20c1"
# As much of MCP as a handshake needs. It stays when its input ends, as what must not be left behind might.
SERVER = """
import json, os, sys, time
print("said with", os.environ.get("KEY"), file=sys.stderr, flush=True)
for _ in range(int(os.environ.get("LINES_TO_SAY", 0))):
    print("x" * 1000, file=sys.stderr)
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        about = {"name": "notes", "version": "1"}
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {}, "serverInfo": about}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
    elif message["method"] == "ping":
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}), flush=True)
while os.environ.get("STAYS"):
    time.sleep(1)
"""


@dataclass
class Bench:
    """A project and a home of its own, with a command in the user's file."""

    folder: Path
    place: Command
    wanted: Wanted
    environ: dict[str, str] = field(default_factory=dict)

    def has(self, *arguments: str, command: str = sys.executable, **variables: str) -> Wanted:
        """Put the command into the user's file; what a plan that was made now would want."""
        document = {"mcpServers": {"notes": {"command": command, "args": list(arguments), "env": variables}}}
        write(self.folder / "home" / ".claude.json", document)
        self.wanted = replace(self.wanted, fingerprint=self.fingerprint())
        return self.wanted

    def fingerprint(self) -> str:
        (candidate,) = user_files(replace(request_in(self.folder), host_commands=True)).candidates
        assert isinstance(candidate.launch, HostLaunch)
        return candidate.launch.fingerprint

    def start(self, wanted: Wanted | None = None) -> subprocess.CompletedProcess[str]:
        return self._run(self.starting(wanted or self.wanted))

    def stop(self) -> subprocess.CompletedProcess[str]:
        return self._run(self._words("stop"))

    def starting(self, wanted: Wanted) -> list[str]:
        return [*self._words("start"), *(f"--{name}={value}" for name, value in vars(wanted).items())]

    def _words(self, action: str) -> list[str]:
        place = self.place
        who = ("--service", place.service, "--project", place.project, "--stack", place.stack)
        return [sys.executable, "-m", "host_command", action, *who]

    def _run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=self.place.root, env=self.environ, capture_output=True, text=True, check=False)

    def record(self) -> Record:
        record = self.place.read()
        assert record is not None
        return record


@pytest.fixture(scope="session")
def cache() -> str:
    environ = {**os.environ, "PROMPTCRAFT_CACHE": str(layout().cache)}
    bridge_environment.ensure(BRIDGE / "requirements.lock", environ)
    return environ["PROMPTCRAFT_CACHE"]


@pytest.fixture
def bench(tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    request = request_in(tmp_path)
    (request.root / "images").mkdir()
    for name in ("Pulumi.yaml", "images/references.json"):
        shutil.copy(ROOT / name, request.root / name)
    write(request.root / "Pulumi.dev.yaml", "config: {promptcraft-hybrid:allowHostCommands: true}\n")
    write(request.home / "server.py", SERVER)
    # An address of the loopback that nobody else uses stands for the gateway of a stack's network.
    address = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
    wanted = Wanted(EVIDENCE, "", 1, address, f"{address}/32", 27001, "notes-host")
    environ = {
        **os.environ,
        "HOME": str(request.home),
        "MCP_LOCK_DIR": str(request.lock_dir),
        "PROMPTCRAFT_CACHE": cache,
        "PYTHONPATH": str(ROOT),
    }
    monkeypatch.setenv("HOME", str(request.home))
    bench = Bench(tmp_path, Command(request.root, "promptcraft-hybrid", "dev", "notes"), wanted, environ)
    bench.has("server.py", KEY=SECRET)
    yield bench
    for process in processes.marked(bench.place):
        process.kill()


def test_it_starts_once_and_stops_with_all_that_tells_of_it(bench: Bench) -> None:
    first = bench.start()
    assert first.returncode == 0, first.stderr
    record = bench.record()
    assert record.lives and len(processes.marked(bench.place)) == 2
    assert handshake.introduces_itself(record.address, record.port, record.token, 10) == "notes"
    assert handshake.introduces_itself(record.address, record.port, "another", 10) is None
    assert record.token not in repr(record)
    assert (bench.folder / "locks" / ".mcp-notes.lock").exists()

    second = bench.start()
    assert second.returncode == 0 and "runs already" in second.stdout
    assert bench.record() == record

    stopped = bench.stop()
    assert stopped.returncode == 0 and "stopped" in stopped.stdout
    assert processes.marked(bench.place) == []
    assert list(bench.place.folder.iterdir()) == list((bench.folder / "locks").iterdir()) == []
    assert "was not running" in bench.stop().stdout


def test_another_run_or_another_command_takes_the_place_of_the_one_before(bench: Bench) -> None:
    assert bench.start().returncode == 0
    before = bench.record()
    changed = bench.has("server.py", KEY="another")
    outdated = bench.start(replace(changed, fingerprint=before.fingerprint))
    assert outdated.returncode == 1
    assert "is another command, or has other variables, than when this was planned" in outdated.stderr
    assert bench.record() == before and before.lives
    assert bench.start(changed).returncode == 0
    assert (bench.record().fingerprint, before.lives) == (changed.fingerprint, False)
    assert bench.start(replace(changed, run=2)).returncode == 0
    assert bench.record().run == 2 and len(processes.marked(bench.place)) == 2


def test_what_is_gone_from_the_file_is_not_started(bench: Bench) -> None:
    gone = bench.start(replace(bench.wanted, key="~/.claude.json: mcpServers.gone"))
    assert gone.returncode == 1 and "is gone, or can't be used any more" in gone.stderr
    assert bench.place.read() is None


def test_what_a_killed_bridge_leaves_behind_is_ended_by_the_next_start(bench: Bench) -> None:
    bench.has("server.py", STAYS="yes")
    assert bench.start().returncode == 0
    killed = bench.record()
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: not killed.lives)
    (orphan,) = processes.marked(bench.place)
    assert bench.start(replace(bench.wanted, run=2)).returncode == 0
    assert process_identity.birth(orphan.pid) is None and bench.record().lives
    assert len(processes.marked(bench.place)) == 2


def test_a_stranger_with_the_recorded_number_is_left_alone(bench: Bench) -> None:
    bench.place.folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        bench.place.write(Record(stranger.pid, "another boot 1", 1, "", "127.0.0.1", 27001, "token"))
        assert not bench.record().lives
        stopped = bench.stop()
        assert stopped.returncode == 0 and stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize(
    ("arguments", "command", "reason"),
    [
        (("-c", f"import sys; sys.exit('not {SECRET}')"), sys.executable, r"not [hidden]"),
        ((), "no-such-program", "No such file or directory"),
    ],
)
def test_a_command_that_ends_before_it_answers_says_why_without_its_secrets(
    bench: Bench, arguments: tuple[str, ...], command: str, reason: str
) -> None:
    bench.has(*arguments, command=command, KEY=SECRET)
    ended = bench.start()
    assert ended.returncode == 1
    assert "ended by itself (exit code 1) before it answered" in ended.stderr and reason in ended.stderr
    assert SECRET not in ended.stderr + bench.place.log.read_text()
    assert bench.place.read() is None and processes.marked(bench.place) == []


def test_a_command_that_never_answers_is_stopped(bench: Bench) -> None:
    wanted = bench.has("-c", "import time; time.sleep(600)")
    with pytest.raises(HostCommandError, match="does not answer MCP's initialize within 3 s"):
        start(bench.place, wanted, bench.environ, seconds=3)
    assert bench.place.read() is None and processes.marked(bench.place) == []


def test_a_start_that_is_killed_leaves_nothing_that_a_stop_does_not_find(bench: Bench) -> None:
    wanted = bench.has("-c", "import time; time.sleep(600)")
    with subprocess.Popen(bench.starting(wanted), cwd=bench.place.root, env=bench.environ) as starting:
        until(lambda: len(processes.marked(bench.place)) == 2 and bench.place.read() is not None)
        starting.kill()
    assert "stopped" in bench.stop().stdout
    assert processes.marked(bench.place) == [] and list(bench.place.folder.iterdir()) == []


def test_its_log_is_its_owners_and_bounded(bench: Bench) -> None:
    bench.has("server.py", LINES_TO_SAY="4000")
    assert bench.start().returncode == 0
    logs = list(bench.place.folder.glob("notes.log*"))
    assert 0 < sum(log.stat().st_size for log in logs) < 2.2 * 1024 * 1024
    assert {log.stat().st_mode & 0o777 for log in logs} == {0o600}


def test_a_taken_port_is_an_error_with_its_holder(bench: Bench) -> None:
    with socket.create_server((bench.wanted.address, bench.wanted.port)):
        taken = bench.start()
    assert taken.returncode == 1 and f"(pid {os.getpid()})" in taken.stderr
    assert processes.marked(bench.place) == []


def test_an_address_of_another_machine_is_an_error_with_the_cure(bench: Bench) -> None:
    elsewhere = bench.start(replace(bench.wanted, address="203.0.113.1"))
    assert elsewhere.returncode == 1 and "set allowHostCommands to false" in elsewhere.stderr


def test_one_at_a_time_starts_or_stops_it(bench: Bench) -> None:
    mine = rf"process {os.getpid()} has been starting or stopping it"
    with bench.place.held(), pytest.raises(HostCommandError, match=mine), bench.place.held(seconds=0.2):
        raise AssertionError("held twice")
    with bench.place.held(seconds=0.2):
        assert len(list(bench.place.folder.glob("*.lock"))) == 1
    assert list(bench.place.folder.glob("*.lock")) == []


def test_a_damaged_record_is_none(bench: Bench) -> None:
    bench.place.folder.mkdir(parents=True)
    for text in ("", "{}", "[1]", json.dumps({"pid": 1}), "\0"):
        write(bench.place.record, text)
        assert bench.place.read() is None


def test_it_is_given_the_users_environment_without_what_set_up_and_pulumi_added(tmp_path: Path) -> None:
    place = Command(tmp_path, "p", "dev", "notes")
    environ = {
        "PATH": f"{tmp_path}/.venv/bin:{tmp_path}/cache/pulumi:/usr/bin",
        "PROMPTCRAFT_CACHE": f"{tmp_path}/cache",
        "PROMPTCRAFT_ROOT": str(tmp_path),
        "PULUMI_CONFIG_PASSPHRASE": SECRET,
        "VIRTUAL_ENV": f"{tmp_path}/.venv",
        "MINE": "1",
    }
    given = entry.environment(place, environ)
    assert given["PATH"] == "/usr/bin" and given["MINE"] == "1"
    assert not {"PROMPTCRAFT_ROOT", "PULUMI_CONFIG_PASSPHRASE", "VIRTUAL_ENV"} & given.keys()
    assert entry.environment(place, {"VIRTUAL_ENV": "/mine"})["VIRTUAL_ENV"] == "/mine"


def test_a_log_hides_values_and_shows_options_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "server.py", "")
    arguments = ("server.py", "--verbose", "--key=in-an-option", "by-itself", "x")
    launch = HostLaunch(command="python3", arguments=arguments, environment={"KEY": "in-a-variable"})
    assert set(entry.hidden(launch)) == {"in-an-option", "by-itself", "in-a-variable"}


def test_a_process_is_known_by_its_birth_and_a_zombie_is_none() -> None:
    assert process_identity.birth(os.getpid()) == process_identity.birth(os.getpid()) is not None
    with subprocess.Popen(["true"]) as child:
        until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        assert process_identity.birth(child.pid) is None


@pytest.mark.parametrize("variables", [{}, {"XDG_CACHE_HOME": "/x"}, {"PROMPTCRAFT_CACHE": "/y"}])
def test_its_cache_is_the_one_of_set_up(variables: dict[str, str]) -> None:
    assert bridge_environment.cache_of(variables) == layout(variables).cache
