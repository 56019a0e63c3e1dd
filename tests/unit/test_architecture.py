"""The house's table of rooms (docs/architecture.md): who may import what. Walks imports by AST."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT

STANDARD = set(sys.stdlib_module_names)

# Room: what it may import beyond the standard library and itself.
MAY_IMPORT = {
    "health_checks": set(),
    "catalog": {"health_checks"},
    "errors": set(),
    "image_references": {"catalog", "errors", "pydantic"},
    "reading": {"errors", "yaml"},
    "certificates": {"cryptography"},
    "tls": {"certificates", "errors", "reading"},
    "settings": {"catalog", "errors", "image_references", "reading", "tls", "pydantic"},
    "discovery": {
        "catalog",
        "errors",
        "settings",
        "reading",
        "pydantic",
        "yaml",
        "psutil",
        "h11",
        "rich",
    },
    "dashboards": {"errors", "promql_parser", "grafana_foundation_sdk"},
    "plan": {"catalog", "health_checks", "image_references", "discovery.report"},
    "changes": {"catalog", "plan", "discovery.report"},
    "workloads": {"catalog", "plan", "settings", "discovery.config"},
    "decide": {
        "hosting",
        "workloads",
        "catalog",
        "changes",
        "errors",
        "plan",
        "settings",
        "discovery.report",
        "discovery.config",
    },
    "hosting": {"catalog", "plan", "settings", "discovery.report", "discovery.config"},
    "host_command": {"discovery", "errors", "settings", "psutil"},
    "runner": None,  # its own image, with its own requirements
    "rendering": {"catalog", "plan", "discovery.report"},
    "components": {"catalog", "health_checks", "plan", "rendering", "pulumi", "pulumi_docker", "pulumi_command"},
    "__main__": {"components.stack", "dashboards", "discovery", "errors", "decide", "settings", "pulumi"},
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
    "toolchain": set(),
    "gateway": None,  # its own package: nothing of ours, whatever its own requirements name
}
OURS = {room.split(".")[0] for room in MAY_IMPORT}


def files_of(room: str) -> list[Path]:
    folder = ROOT / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]
    return [file for file in files if "tests" not in file.relative_to(ROOT).parts]


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
