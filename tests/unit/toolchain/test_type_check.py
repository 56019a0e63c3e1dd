"""Programs with packages of their own are checked against those packages, and none is forgotten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT
from toolchain import type_check
from toolchain.images import wheels
from toolchain.layout import Layout
from toolchain.requirement_locks import DEVELOPMENT, RUNNER, Lock


def test_every_program_of_an_image_is_checked() -> None:
    tracked = ["git", "ls-files", "images/*.py", "host_command/bridge/*.py"]
    told = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout
    assert [file for file in told.stdout.split() if not file.startswith(tuple(type_check.APART))] == []


@pytest.mark.parametrize(
    ("lock", "told"),
    [
        (RUNNER, 'has incompatible type "str"; expected "int"'),
        (DEVELOPMENT, 'Cannot find implementation or library stub for module named "example"'),
    ],
    ids=["its own", "the tests'"],
)
def test_a_program_is_checked_against_the_packages_that_it_runs_with(
    lock: Lock, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    package, program = tmp_path / "packages" / "example", tmp_path / "program"
    package.mkdir(parents=True)
    program.mkdir()
    (package / "py.typed").touch()
    (package / "__init__.py").write_text("def double(number: int) -> int:\n    return 2 * number\n")
    (program / "main.py").write_text('import example\n\nexample.double("2")\n')
    monkeypatch.setattr(type_check, "APART", {"program": lock})
    monkeypatch.setattr(wheels, "installed", lambda lock, architecture, layout: tmp_path / "packages")
    assert type_check.run(Layout(tmp_path, tmp_path)) == 1
    assert told in capsys.readouterr().out
