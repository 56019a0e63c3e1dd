"""What the runner makes of a package once it is installed: which program, and by which words."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.builders import ROOT

NODE = "#!/usr/bin/env node\n"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The runner's module, with its packages below `tmp_path`."""
    path = ROOT / "images" / "runner" / "packages.py"
    spec = importlib.util.spec_from_file_location("runner_packages", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their own module up.
    monkeypatch.setitem(sys.modules, "runner_packages", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "node").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return module


Install = Callable[[Path], None]


def installing(monkeypatch: pytest.MonkeyPatch, packages: ModuleType, install: Install) -> list[tuple[str, ...]]:
    """The commands of installers, each of which does what `install` does in its folder instead."""
    seen: list[tuple[str, ...]] = []

    async def run(kind: str, told: str, command: tuple[str, ...]) -> None:
        seen.append(command)
        install(next(Path(word) for word in command if word.startswith(str(packages.ROOT / kind))))

    monkeypatch.setattr(packages, "_run", run)
    return seen


def npm(programs: object, files: dict[str, str]) -> Install:
    """npm, for a package `@acme/docs` with those programs, and files below `node_modules`."""

    def install(folder: Path) -> None:
        texts = {"@acme/docs/package.json": json.dumps({"bin": programs}), **files}
        for name, text in texts.items():
            path = folder / "node_modules" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return install


def command_of(packages: ModuleType, *specs: str, binary: str | None = None, options: tuple[str, ...] = ()) -> Any:
    wanted = packages.Wanted(specs[0], specs[1:], options)
    kind = packages.npm_package if specs[0].startswith("@") else packages.python_package
    return asyncio.run(kind(wanted, binary))


@pytest.mark.parametrize("spec", ["@acme/docs", "@acme/docs@1.2.3", "@acme/docs@>=1 <2"])
@pytest.mark.parametrize(
    ("programs", "binary", "script"),
    [
        ("./a.js", None, "@acme/docs/a.js"),
        ("./a.js", "docs", "@acme/docs/a.js"),
        ({"one": "a.js"}, None, "@acme/docs/a.js"),
        ({"one": "a.js", "two": "a.js"}, None, "@acme/docs/a.js"),
        ({"docs": "a.js", "two": "b.js"}, None, "@acme/docs/a.js"),
        ({"one": "a.js", "two": "b.js"}, "two", "@acme/docs/b.js"),
        ({"one": "a.js"}, "beside", ".bin/beside"),
    ],
)
def test_the_program_that_npx_would_start(
    monkeypatch: pytest.MonkeyPatch, packages: ModuleType, spec: str, programs: object, binary: str | None, script: str
) -> None:
    files = dict.fromkeys(("@acme/docs/a.js", "@acme/docs/b.js", ".bin/beside"), NODE)
    (installer,) = [installing(monkeypatch, packages, npm(programs, files))]
    command = command_of(packages, spec, binary=binary)
    assert command.program == "node" and command.arguments[-1].endswith(f"/node_modules/{script}")
    # One word, after which nothing is read as an option.
    assert installer[0][-2:] == ("--", spec)


@pytest.mark.parametrize(
    ("programs", "first_line", "why"),
    [
        ("./a.js", "#!/usr/bin/env bun\n", "needs Bun, and the runner has Node.js"),
        ("./a.js", "#!/bin/sh\n", "is no Node.js script"),
        ({"one": "a.js", "two": "b.js"}, NODE, "has no program 'docs'; it has one, two"),
        ({}, NODE, "has no program 'docs'; it has none"),
    ],
)
def test_what_node_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, packages: ModuleType, programs: object, first_line: str, why: str
) -> None:
    installing(monkeypatch, packages, npm(programs, {"@acme/docs/a.js": first_line}))
    with pytest.raises(packages.PackageError, match=why):
        command_of(packages, "@acme/docs")


def uv(folder: Path) -> None:
    """uv, for a package whose program is called `docs`."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "bin" / "docs").touch()


@pytest.mark.parametrize(
    ("spec", "requirement"),
    [
        ("docs", "docs"),
        ("docs@latest", "docs"),
        ("docs@1.2", "docs==1.2"),
        ("docs[http]>=1,<2", "docs[http]>=1,<2"),
        ("docs~=1.2", "docs~=1.2"),
        ("docs!=1.2", "docs!=1.2"),
    ],
)
def test_the_program_that_uvx_would_start(
    monkeypatch: pytest.MonkeyPatch, packages: ModuleType, spec: str, requirement: str
) -> None:
    installer = installing(monkeypatch, packages, uv)
    command = command_of(packages, spec, "rich@latest", options=("--prerelease=allow",))
    assert command.arguments[0].endswith("/bin/docs")
    assert installer[0][-4:] == ("--prerelease=allow", "--", requirement, "rich")


@pytest.mark.parametrize(
    ("specs", "times"),
    [
        (("docs==1.2",), 1),
        (("docs==1.2", "rich==1.0"), 1),
        (("docs==1.2", "rich"), 2),
        (("docs==1.*",), 2),
        (("docs>=1.2",), 2),
        (("docs@latest",), 2),
    ],
)
def test_only_exact_versions_are_fetched_once(
    monkeypatch: pytest.MonkeyPatch, packages: ModuleType, specs: tuple[str, ...], times: int
) -> None:
    installer = installing(monkeypatch, packages, uv)
    for _ in range(2):
        command_of(packages, *specs)
    assert len(installer) == times
