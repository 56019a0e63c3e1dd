"""What the command line promises besides the report: tables for people, snapshots, and few words for bad options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .debian import REPOSITORY
from .emulators import legacy_mcp, qdrant
from .namespace import Namespace
from .outcome import Outcome
from .world import World


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


def _look(namespace: Namespace, *arguments: str, as_json: bool = False) -> tuple[Outcome, str]:
    """Run with a Qdrant and a foreign MCP server around; also the text of the snapshot, where one was written."""

    def run() -> tuple[Outcome, str]:
        world = World()
        try:
            world.serve(qdrant("1.12.0"), 6333)
            world.serve(legacy_mcp("weather\x1b[2J"), 8000)
            world.arguments += [argument.replace("FOLDER", str(world.folder)) for argument in arguments]
            outcome = world.run("dev", 5.0, as_json=as_json)
            snapshot = world.folder / "snapshots/dev.json"
            return outcome, snapshot.read_text() if snapshot.exists() else ""
        finally:
            world.close()

    return namespace.run(run)


def test_a_table_names_choices_and_rejections_without_colour_in_a_pipe(namespace: Namespace) -> None:
    outcome, _ = _look(namespace)
    assert outcome.exit_code == 0
    for expected in ("qdrant", "external_deployment", "http://127.0.0.1:6333", "1.12.0", "weather", "impostor"):
        assert expected in outcome.stdout
    assert "\x1b" not in outcome.stdout


def test_a_snapshot_is_the_report_that_was_printed(namespace: Namespace) -> None:
    outcome, snapshot = _look(namespace, "--write", "FOLDER/snapshots/dev.json", as_json=True)
    assert json.loads(snapshot) == outcome.report


def test_explain_tells_all_about_one_service(namespace: Namespace) -> None:
    outcome, _ = _look(namespace, "--explain", "zen-mcp")
    assert outcome.exit_code == 0
    assert "weather" in outcome.stdout
    assert "qdrant" not in outcome.stdout


@pytest.mark.parametrize(
    ("way", "shadows"),
    [
        ((str(REPOSITORY / "discovery"),), ("yaml", "argparse", "errors", "discovery")),
        # Where Python itself is told to run a module of that name, the folder's own is the one.
        (("-m", "discovery"), ("yaml", "argparse", "errors", "settings")),
    ],
    ids=["by its path", "by its name"],
)
def test_it_runs_in_any_folder_and_nothing_of_the_folder(
    tmp_path: Path, way: tuple[str, ...], shadows: tuple[str, ...]
) -> None:
    for name in shadows:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n")
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *way, "--json"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["stack"] == "dev"
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--budget", "nan"),
        ("--budget", "-1"),
        ("--budget", "x"),
        ("--explain", "nothing"),
        ("--write", "/dev/null/x"),
    ],
    ids=" ".join,
)
def test_a_bad_option_is_exit_2_with_nothing_on_stdout(namespace: Namespace, arguments: tuple[str, ...]) -> None:
    outcome, _ = _look(namespace, *arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert arguments[0] in outcome.stderr
    assert "Traceback" not in outcome.stderr
