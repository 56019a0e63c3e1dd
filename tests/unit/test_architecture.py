"""The house's table of rooms (docs/architecture.md): who may import what. Walks imports by AST."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT

STANDARD = set(sys.stdlib_module_names)

# Room: what it may import beyond the standard library and itself.
MAY_IMPORT: dict[str, set[str] | None] = {
    "catalog": set(),
    "errors": set(),
    "reading": {"errors", "yaml"},
    "settings": {"catalog", "errors", "reading", "pydantic", "cryptography", "yaml"},
    "discovery": {"catalog", "errors", "settings", "reading", "pydantic", "yaml", "psutil", "h11", "ijson", "rich"},
    "planning": {"catalog", "errors", "settings", "discovery.report", "discovery.config"},
    "rendering": {"catalog", "planning.plan", "planning.contents", "discovery.report"},
    "components": {
        "catalog",
        "planning.plan",
        "planning.contents",
        "rendering",
        "pulumi",
        "pulumi_docker",
        "pulumi_command",
    },
    "dashboards": {"errors", "promql_parser", "grafana_foundation_sdk"},
    "__main__": {"components.stack", "dashboards", "discovery", "errors", "planning", "settings", "pulumi"},
    "host_command": {"discovery", "errors", "settings", "psutil"},
    "operate": {
        "catalog",
        "dashboards",
        "errors",
        "settings",
        "discovery",
        "docker",
        "psutil",
        "pydantic",
        "requests",
        "rich",
    },
    "docs": {
        "catalog",
        "discovery.config",
        "discovery.probes",
        "discovery.report",
        "gateway.settings",
        "markdown_it",
        "planning",
        "pydantic",
        "rendering",
        "settings",
        "yaml",
    },
    "toolchain": {"catalog"},
    "images": None,  # each its own image, with its own requirements
    "gateway": None,  # its own package: nothing of ours, whatever its own requirements name
}
# What a room inside of discovery may import of discovery, besides itself and the values that all share.
VALUES = {"report", "request", "world", "config", "approval"}
INSIDE = {
    "readers": set(),
    "probes": {"readers"},
    "fingerprints": {"wire"},
    "judging": {"probes", "fingerprints", "wire"},
}
# Files that run in an environment of their own.
APART = {"host_command/bridge"}
OURS = {room.split(".")[0] for room in MAY_IMPORT}


def files_of(room: str) -> list[Path]:
    folder = ROOT / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]
    return [
        file
        for file in files
        if "tests" not in file.relative_to(ROOT).parts
        and not any(file.is_relative_to(ROOT / folder) for folder in APART)
    ]


def tracked(pattern: str) -> list[Path]:
    told = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in told.stdout.splitlines()]


def imports_of(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide which room is meant"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def allowed(name: str, room: str) -> bool:
    first = name.split(".")[0]
    rule = MAY_IMPORT[room]
    if rule is None:
        return first == room or first not in OURS
    within = {room, *rule}
    return first in STANDARD or any(name == entry or name.startswith(f"{entry}.") for entry in within)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_its_row_allows(room: str) -> None:
    files = [file for file in files_of(room) if file.exists()]
    assert files, f"{room} is empty: this test would pass by finding nothing"
    broken = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in sorted(imports_of(file))
        if not allowed(name, room)
    ]
    assert broken == []


@pytest.mark.parametrize("room", sorted(INSIDE))
def test_a_room_inside_of_discovery_imports_only_what_its_row_allows(room: str) -> None:
    files = files_of(f"discovery/{room}")
    assert files, f"discovery/{room} is empty: this test would pass by finding nothing"
    within = {room, *VALUES, *INSIDE[room]}
    broken = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in sorted(imports_of(file))
        if name.split(".")[0] == "discovery" and name.split(".")[1] not in within
    ]
    assert broken == []


def test_every_room_has_a_row() -> None:
    rooms = {file.relative_to(ROOT).parts[0].removesuffix(".py") for file in tracked("*.py")}
    assert rooms - {"tests", "bench", "conftest"} == MAY_IMPORT.keys()


def test_only_components_and_the_program_import_pulumi() -> None:
    importers = {
        room
        for room in MAY_IMPORT
        for file in files_of(room)
        for name in imports_of(file)
        if name.split(".")[0].startswith("pulumi")
    }
    assert importers == {"components", "__main__"}


def test_the_program_is_a_sentence() -> None:
    tree = ast.parse((ROOT / "__main__.py").read_text(encoding="utf-8"))
    assert len((ROOT / "__main__.py").read_text(encoding="utf-8").splitlines()) < 40
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp)]
