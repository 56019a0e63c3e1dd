"""What runs warm is what would run cold, and counts for the coverage that `make test` tells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.warm import WarmPython

PROGRAM = """
from reading.text import shown
assert shown({}) == "a map"
"""


def test_a_run_tells_which_lines_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / "reading" / "text.py").read_text().splitlines()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setenv("SLIPCOVER_COVERAGE_DIR", str(tmp_path))
    monkeypatch.setenv("SLIPCOVER_SOURCE", "reading")
    warm = WarmPython("reading.text")
    with Path(os.devnull).open("wb") as nowhere:
        run = warm.start([str(program)], dict(os.environ), nowhere, nowhere)
        assert run.wait(30) == 0
    warm.close()
    (told,) = tmp_path.glob("coverage-gw*.json")
    measured = json.loads(told.read_text())["files"]["reading/text.py"]
    ran = {number: lines[number - 1].strip() for number in measured["executed_lines"]}
    assert 'return "a map"' in ran.values()
    assert 'return "a list"' not in ran.values()


def test_a_run_in_another_folder_has_the_modules_from_there(tmp_path: Path) -> None:
    (tmp_path / "reading").mkdir()
    (tmp_path / "reading" / "text.py").write_text("shown = 'from there'")
    (tmp_path / "program.py").write_text("import pydantic, reading.text; print(reading.text.shown)")
    warm = WarmPython("reading.text", "pydantic")
    with (tmp_path / "said").open("w+b") as said:
        run = warm.start(["program.py"], dict(os.environ), said, said, folder=tmp_path)
        assert run.wait(30) == 0
        said.seek(0)
        assert said.read() == b"from there\n"
    warm.close()
