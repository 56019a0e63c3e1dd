"""The order in which a part is had, and what each part's ways are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolchain import ways
from toolchain.failure import SetupError
from toolchain.layout import Layout
from toolchain.pulumi import command_line, plugins, versions
from toolchain.pulumi.command_line import Cli
from toolchain.pulumi.versions import Plugin
from toolchain.reachability import Outside

DOCKER = Plugin("docker", "5.2.0")


class Answering(Outside):
    """An outside where everybody answers, or nobody."""

    def __init__(self, yes: bool) -> None:
        super().__init__(())
        self._yes = yes

    def answers(self, url: str) -> bool:
        return self._yes


def program(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root", tmp_path / "cache")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"found": "a", "fetched": "b", "built": "c"}, ("a", "found")),
        ({"found": None, "fetched": "b", "built": "c"}, ("b", "fetched")),
        ({"found": None, "fetched": None, "built": "c"}, ("c", "built")),
    ],
)
def test_the_first_way_that_leads_there_wins_and_later_ones_are_not_tried(
    parts: dict[str, str | None], expected: tuple[str, str]
) -> None:
    tried: list[str] = []

    def way(how: str) -> ways.Way[str]:
        def attempt() -> str | None:
            tried.append(how)
            return parts[how]

        return ways.Way(how, attempt)

    obtained = ways.first("it", [way(how) for how in parts])
    assert (obtained.part, obtained.how) == expected
    assert tried[-1] == expected[1]


def test_where_no_way_leads_there_all_that_were_tried_are_named() -> None:
    with pytest.raises(SetupError, match="a thing can't be had on this machine; tried: found, built"):
        ways.first("a thing", [ways.Way[str]("found", lambda: None), ways.Way[str]("built", lambda: None)])


@pytest.mark.parametrize(
    ("version", "language_host", "expected"),
    [
        ("v3.256.0", True, "found on PATH"),
        ("v3.200.0", True, "found on PATH"),
        ("v3.199.9", True, "built from Go modules"),
        ("v4.0.0", True, "built from Go modules"),
        ("v3.256.0", False, "built from Go modules"),
        (None, True, "built from Go modules"),
    ],
)
def test_pulumi_is_taken_from_path_only_where_it_suits(
    version: str | None,
    language_host: bool,
    expected: str,
    tmp_path: Path,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    if version:
        program(folder / "pulumi", f"echo {version}")
    if language_host:
        program(folder / command_line.LANGUAGE_HOST, "true")
    monkeypatch.setattr(command_line, "_built", lambda layout, version: Cli(Path("built")))
    assert command_line.obtain(layout, Answering(False), "3.256.0", str(folder)).how == expected


def test_a_pulumi_that_was_installed_before_is_used_without_asking_anybody(layout: Layout) -> None:
    installed = program(layout.cache / "pulumi" / "3.256.0" / "bin" / "pulumi", "echo v3.256.0")
    obtained = command_line.obtain(layout, Answering(False), "3.256.0", "")
    assert obtained == ways.Obtained(Cli(installed, (installed.parent,)), "installed by Pulumi's installer")


# What is there, and whether Pulumi's downloads answer -> how the plugin comes, and in whose home.
@pytest.mark.parametrize(
    ("in_home", "beside_cli", "answers", "home_named", "how", "ours"),
    [
        (True, False, False, False, "found", False),
        (False, True, False, False, "found", False),
        (False, False, True, False, "installed", False),
        (False, False, False, False, "built", True),
        (False, False, False, True, "built", False),
        (True, False, True, True, "found", False),
    ],
)
def test_a_plugin_is_found_before_it_is_installed_before_it_is_built(
    in_home: bool,
    beside_cli: bool,
    answers: bool,
    home_named: bool,
    how: str,
    ours: bool,
    tmp_path: Path,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    monkeypatch.setattr(plugins, "configured_home", lambda environment: home)
    program(tmp_path / "built" / DOCKER.program, "echo built")
    monkeypatch.setattr("toolchain.pulumi.go_modules.build", lambda module, layout: tmp_path / "built")
    log = tmp_path / "asked"
    cli = Cli(program(tmp_path / "bin" / "pulumi", f'echo "$@" >> {log}'))
    if in_home:
        program(plugins.program(home, DOCKER), "true")
    if beside_cli:
        program(cli.program.parent / DOCKER.program, "true")
    environment = {"PULUMI_HOME": str(home)} if home_named else {}
    came = plugins.obtain((DOCKER,), cli, layout, Answering(answers), environment)
    assert came == plugins.Home(plugins.our_home(layout) if ours else home, ours)
    assert log.exists() == (how == "installed")
    built_into = plugins.program(came.path, DOCKER)
    assert (built_into.is_file() and "built" in built_into.read_text()) == (how == "built")


def test_a_built_plugin_never_lands_where_other_projects_would_use_it(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one plugin official and one built, ours holds both, and the user's home is as it was."""
    command = Plugin("command", "1.2.1")
    home = tmp_path / "home"
    monkeypatch.setattr(plugins, "configured_home", lambda environment: home)
    program(plugins.program(home, command), "echo official")
    program(tmp_path / "built" / DOCKER.program, "echo built")
    monkeypatch.setattr("toolchain.pulumi.go_modules.build", lambda module, layout: tmp_path / "built")
    before = sorted(home.rglob("*"))
    came = plugins.obtain((DOCKER, command), Cli(tmp_path / "bin" / "pulumi"), layout, Answering(False), {})
    assert came == plugins.Home(plugins.our_home(layout), ours=True)
    assert "official" in plugins.program(came.path, command).read_text()
    assert os.access(plugins.program(came.path, DOCKER), os.X_OK)
    assert sorted(home.rglob("*")) == before


def test_the_go_modules_build_what_the_requirements_pin() -> None:
    root = Path(__file__).resolve().parents[3]
    pinned = versions.pinned(root / "requirements.txt")
    assert f"github.com/pulumi/pulumi/pkg/v3 v{pinned.pulumi}" in (root / "toolchain/pulumi/cli/go.mod").read_text()
    assert f'"{pinned.pulumi}"' in (root / "toolchain/pulumi/python-host/main.go").read_text()
    for plugin in pinned.plugins:
        assert plugin.version in (root / f"toolchain/pulumi/{plugin.name}-plugin/main.go").read_text()


def test_a_missing_pin_is_named(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("pulumi==3.256.0\npulumi-docker==5.2.0\n")
    with pytest.raises(SetupError, match=r"requirements.txt: pulumi-command: is not pinned"):
        versions.pinned(requirements)
