"""Local commands in the user's files: what discovery tells of them, and which run of one the next deployment wants."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from catalog import host_port
from discovery.config import DiscoveryConfig
from discovery.judging.judge import Judge
from discovery.judging.sightings import sightings_of
from discovery.look import look
from discovery.probes.project_files import project_files
from discovery.probes.user_files import user_files
from discovery.readers import host_records, process_identity
from discovery.readers.host_records import Record
from discovery.report import Candidate, HostLaunch, Report
from discovery.request import Checkpoint, Gathered, Request
from discovery.world import Listener
from reading.addresses import plain_address
from tests.unit.asking import request_in, write
from tests.unit.discovery.test_look import found

SERVER = {"command": "/opt/notes", "args": ["--key", "geheim-1"], "env": {"TOKEN": "${OWN}", "MODE": "plain"}}
OWN = {"OWN": "geheim-2"}


def asked(folder: Path, server: object = SERVER, name: str = "notes", **changes: object) -> Request:
    """A request of a stack that allows commands of the host, with `server` in the user's file."""
    request = replace(request_in(folder, **OWN), host_commands=True)
    write(request.home / ".claude.json", {"mcpServers": {name: server}})
    return replace(request, **changes)  # type: ignore[arg-type]


def candidate(request: Request) -> Candidate:
    (only,) = user_files(request).candidates
    return only


def launch(request: Request) -> HostLaunch:
    found = candidate(request).launch
    assert isinstance(found, HostLaunch)
    return found


def test_what_is_told_of_a_command_holds_neither_its_words_nor_its_variables(tmp_path: Path) -> None:
    told = candidate(asked(tmp_path))
    assert told.problem == "speaks stdio through 'notes': a command of this host, not started during discovery"
    assert isinstance(told.launch, HostLaunch)
    assert (told.launch.command, told.launch.arguments) == ("/opt/notes", ("--key", "geheim-1"))
    assert told.launch.environment == {"TOKEN": "geheim-2", "MODE": "plain"}
    assert "geheim" not in repr(told) and "/opt" not in repr(told)


def test_a_stack_that_allows_none_is_told_which_key_would(tmp_path: Path) -> None:
    told = candidate(asked(tmp_path, host_commands=False))
    assert told.launch is None and str(told.problem).endswith("never run, unless the stack sets allowHostCommands")
    assert not (tmp_path / "root" / ".promptcraft").exists()


def test_what_a_project_brings_along_is_never_run(tmp_path: Path) -> None:
    request = asked(tmp_path)
    write(request.root / ".mcp.json", {"mcpServers": {"notes": SERVER}})
    (told,) = project_files(request).candidates
    assert told.launch is None and "of a project's files not by allowHostCommands either" in str(told.problem)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({**SERVER, "disabled": True}, "disabled"),
        ({**SERVER, "args": ["${MISSING}"]}, "needs MISSING, which is not set"),
        ({**SERVER, "args": "geheim-1"}, "args that are one text"),
        ({**SERVER, "args": ["geheim-1", None]}, "null as word 3 of its command"),
        ({**SERVER, "args": ["x"] * 257}, "258 words, of which 256 are read"),
        ({**SERVER, "env": {"A=B": "geheim-1"}}, "a name that no variable can have"),
        ({**SERVER, "command": ""}, "has no command"),
    ],
)
def test_what_could_not_be_started_says_why(tmp_path: Path, server: object, words: str) -> None:
    told = candidate(asked(tmp_path, server))
    assert told.launch is None and words in str(told.problem)
    assert "geheim" not in repr(told)


def test_zen_is_the_stacks_own_or_reached_over_http(tmp_path: Path) -> None:
    told = candidate(asked(tmp_path, name="zen"))
    assert told.launch is None and "set ZEN_MCP_URL" in str(told.problem)


@pytest.mark.parametrize(
    "change",
    [
        {"command": "/opt/other"},
        {"args": ["--key", "geheim-3"]},
        {"args": ["--key geheim-1"]},
        {"env": {"TOKEN": "${OWN}"}},
        {"env": {"TOKEN": "${OWN}", "MODE": "other"}},
    ],
)
def test_another_command_has_another_fingerprint_and_the_same_one_the_same(
    tmp_path: Path, change: Mapping[str, object]
) -> None:
    before = launch(asked(tmp_path)).fingerprint
    assert launch(asked(tmp_path)).fingerprint == before
    assert launch(asked(tmp_path, {**SERVER, **change})).fingerprint != before


def test_a_new_version_of_the_bridge_is_started_too(tmp_path: Path) -> None:
    request = asked(tmp_path)
    before = launch(request).fingerprint
    write(request.root / "host_command" / "bridge" / "bridge.py", "new = True")
    assert launch(request).fingerprint != before


def test_a_fingerprint_is_keyed_so_that_nobody_can_try_secrets_on_it(tmp_path: Path) -> None:
    request = asked(tmp_path)
    before = launch(request).fingerprint
    key = request.root / ".promptcraft" / "host-commands" / "key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in key.parent.iterdir()] == ["key"]
    key.unlink()
    assert launch(request).fingerprint != before
    key.write_bytes(b"short")
    assert "key cannot be used" in str(candidate(request).problem)


def put(request: Request, run: int, *, lives: bool) -> None:
    """Leave the record of a run whose process is this one, or one of another boot."""
    pid = os.getpid()
    record = Record(
        pid, str(process_identity.birth(pid)) if lives else "another boot 1", run, "f", "127.0.0.1", 27001, "t"
    )
    path = host_records.record_path(host_records.folder_of(request.root, request.stack), "notes")
    write(path, record.to_text())


ENDED = "process PID has ended"


@pytest.mark.parametrize(
    ("deployed", "recorded", "lives", "run", "ended"),
    [
        ({}, None, False, 1, ""),
        ({"notes": 4}, None, False, 5, "its record is gone"),
        ({"notes": 4}, 4, True, 4, ""),
        # An update that ended after the start and before its state was written.
        ({"notes": 4}, 5, True, 5, ""),
        ({}, 1, True, 1, ""),
        ({"notes": 4}, 4, False, 5, ENDED),
        ({"notes": 4}, 6, False, 7, ENDED),
        ({"another": 4}, None, False, 1, ""),
    ],
)
def test_the_run_that_lives_is_wanted_or_the_one_after_the_last(
    tmp_path: Path, deployed: Mapping[str, int], recorded: int | None, lives: bool, run: int, ended: str
) -> None:
    request = asked(tmp_path, checkpoint=Checkpoint(host_runs=deployed))
    if recorded is not None:
        put(request, recorded, lives=lives)
    assert (launch(request).run, launch(request).ended) == (run, ended.replace("PID", str(os.getpid())))


def test_a_report_carries_it_there_and_back(tmp_path: Path) -> None:
    request = asked(tmp_path, checkpoint=Checkpoint(host_runs={"notes": 4}))
    report = look(request, DiscoveryConfig(), [found("user_files", *user_files(request).candidates)])
    document = json.loads(json.dumps(report.to_json()))
    assert "geheim" not in json.dumps(document) and "/opt" not in json.dumps(document)
    (finding,) = Report.from_json(document).services["notes"].findings
    assert finding.candidate.launch == report.services["notes"].findings[0].candidate.launch
    assert isinstance(finding.candidate.launch, HostLaunch) and finding.candidate.launch.run == 5


def test_what_holds_its_port_everywhere_is_an_obstacle(tmp_path: Path) -> None:
    port = host_port("notes", 0)
    address = plain_address("0.0.0.0")
    assert address is not None
    request = asked(tmp_path)
    probes = [
        found("user_files", *user_files(request).candidates),
        found("processes", listeners=(Listener(address, port, 7, "squid"),)),
    ]
    (obstacle,) = look(request, DiscoveryConfig(), probes).obstacles
    assert (obstacle.kind, obstacle.name) == ("port", str(port)) and "squid (pid 7)" in obstacle.holder


def test_containers_on_another_machine_cannot_use_it(tmp_path: Path) -> None:
    request = asked(tmp_path)
    probe = found("user_files")
    gathered = {probe: Gathered(user_files(request).candidates)}
    judge = Judge(request, DiscoveryConfig(), has_npx=True, engine_is_here=False)
    findings = judge.findings(sightings_of(gathered, {}, ["notes"]), {}, ["notes"])
    (ranked,) = findings["notes"]
    assert ranked.finding.candidate.launch is None and "on another machine cannot reach" in ranked.finding.reason
