"""Whose a look is: the deployment's that began before it, else the invocation's of Pulumi."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from discovery.one_look import begin_deployment, one_look
from discovery.report import Report
from tests.builders import ROOT, finding, report_of

# What Pulumi runs for a deployment: the program, which looks, and says what it saw.
PROGRAM = """
import sys
from pathlib import Path
from discovery.one_look import one_look
from tests.builders import finding, report_of
seen = one_look(Path(sys.argv[1]), "dev", lambda: report_of([finding("redis")]), lambda report: print("confirmed"))
print(*seen.services)
"""


def in_a_child(root: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root)], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def never(_: Report) -> None:
    pytest.fail("the first look has nothing to confirm")


def test_what_a_command_saw_before_pulumi_is_what_pulumis_program_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTCRAFT_DEPLOYMENT", "")
    begin_deployment()
    one_look(tmp_path, "dev", lambda: report_of([finding("qdrant")]), never)
    assert in_a_child(tmp_path) == ["confirmed", "qdrant"]


def test_without_a_deployment_everybody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPTCRAFT_DEPLOYMENT", raising=False)
    one_look(tmp_path, "dev", lambda: report_of([finding("qdrant")]), never)
    assert in_a_child(tmp_path) == ["redis"]


def test_another_processs_deployment_is_not_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTCRAFT_DEPLOYMENT", "")
    begin_deployment()
    one_look(tmp_path, "dev", lambda: report_of([finding("qdrant")]), never)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        monkeypatch.setenv("PROMPTCRAFT_DEPLOYMENT", str(stranger.pid))
        assert in_a_child(tmp_path) == ["redis"]
        stranger.kill()
