"""Where agents lie: the project's folders up to its repository's root, and plugins that their user switched on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from discovery.config import AGENT_TIERS, CLAUDE_PLUGIN, CLAUDE_PROJECT
from discovery.readers.agent_folders import AgentFolder, agent_folders
from tests.unit.asking import write

PLUGIN = "tools@market"


def folders(root: Path, home: Path, tier: str) -> list[AgentFolder]:
    return [one for one in agent_folders(root, home, {}).folders if one.tier == tier]


def labels(root: Path, home: Path) -> list[str]:
    return [one.label for one in folders(root, home, CLAUDE_PROJECT)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def project(tmp_path: Path, *, repository: str, at: str = "a/b/c") -> Path:
    (tmp_path / repository / ".git").mkdir(parents=True)
    root = tmp_path / at
    root.mkdir(parents=True, exist_ok=True)
    return root


def test_the_order_is_that_of_the_tiers(tmp_path: Path, home: Path) -> None:
    root = project(tmp_path, repository="a")
    install(home, tmp_path)
    tiers = [one.tier for one in agent_folders(root, home, {}).folders]
    assert list(dict.fromkeys(tiers)) == list(AGENT_TIERS)


def test_the_nearest_folder_comes_first_and_the_repositorys_root_last(tmp_path: Path, home: Path) -> None:
    root = project(tmp_path, repository="a")
    assert labels(root, home) == [".claude/agents", "../.claude/agents", "../../.claude/agents"]


def test_without_a_repository_only_the_project_counts(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "a/b"
    root.mkdir(parents=True)
    assert labels(root, home) == [".claude/agents"]


def test_a_folder_of_everybody_ends_the_way_up(tmp_path: Path, home: Path) -> None:
    root = project(tmp_path, repository="a")
    (tmp_path / "a/b").chmod(0o777)
    assert labels(root, home) == [".claude/agents"]


def test_a_folder_of_somebody_else_ends_the_way_up(tmp_path: Path, home: Path) -> None:
    root = project(tmp_path, repository="a")
    os.chown(tmp_path / "a/b", 12345, 12345)
    assert labels(root, home) == [".claude/agents"]


def test_a_home_that_is_a_repository_keeps_its_agents_the_users(tmp_path: Path, home: Path) -> None:
    root = project(tmp_path, repository="home", at="home/project")
    assert labels(root, home) == [".claude/agents"]


def install(home: Path, tmp_path: Path, *records: dict[str, Any], on: object = True, manifest: object = None) -> Path:
    place = tmp_path / "place"
    place.mkdir(exist_ok=True)
    record = records or ({"scope": "user"},)
    entries = [{"installPath": str(place), **one} for one in record]
    write(home / ".claude/plugins/installed_plugins.json", json.dumps({"version": 2, "plugins": {PLUGIN: entries}}))
    write(home / ".claude/settings.json", json.dumps({"enabledPlugins": {PLUGIN: on}}))
    if manifest is not None:
        write(place / ".claude-plugin/plugin.json", json.dumps(manifest))
    return place


def found(tmp_path: Path, home: Path) -> list[AgentFolder]:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    return folders(root, home, CLAUDE_PLUGIN)


def test_a_plugin_that_is_switched_on(tmp_path: Path, home: Path) -> None:
    place = install(home, tmp_path)
    (folder,) = found(tmp_path, home)
    assert (folder.path, folder.label, folder.only) == (place / "agents", f"plugin {PLUGIN}/agents", None)
    assert folder.owners is not None


@pytest.mark.parametrize("on", [False, None])
def test_a_plugin_that_is_not_switched_on(tmp_path: Path, home: Path, on: bool | None) -> None:
    install(home, tmp_path, on=on is not None)
    settings = {"enabledPlugins": {PLUGIN: False}} if on is False else {}
    write(home / ".claude/settings.json", json.dumps(settings))
    assert found(tmp_path, home) == []


def test_a_repository_switches_off_and_not_on(tmp_path: Path, home: Path) -> None:
    install(home, tmp_path)
    settings = tmp_path / "root/.claude/settings.json"
    write(settings, json.dumps({"enabledPlugins": {PLUGIN: False}}))
    assert found(tmp_path, home) == []
    write(home / ".claude/settings.json", "{}")
    write(settings, json.dumps({"enabledPlugins": {PLUGIN: True}}))
    assert found(tmp_path, home) == []


def test_a_plugin_of_another_project(tmp_path: Path, home: Path) -> None:
    install(home, tmp_path, {"scope": "project", "projectPath": "/elsewhere"})
    assert found(tmp_path, home) == []


def test_a_plugin_of_this_project_needs_no_other_switch(tmp_path: Path, home: Path) -> None:
    place = install(
        home,
        tmp_path,
        {"scope": "user", "installPath": "/older"},
        {"scope": "local", "projectPath": str(tmp_path / "root")},
    )
    write(home / ".claude/settings.json", "{}")
    assert [one.path for one in found(tmp_path, home)] == [place / "agents"]


def test_a_plugins_own_places(tmp_path: Path, home: Path) -> None:
    place = install(home, tmp_path, manifest={"agents": ["./mine/", "./more/a.md", "./more/b.md", "../out", "/etc"]})
    root = tmp_path / "root"
    root.mkdir()
    answer = agent_folders(root, home, {})
    plugins = [one for one in answer.folders if one.tier == CLAUDE_PLUGIN]
    assert [(one.path, one.only) for one in plugins] == [
        (place / "mine", None),
        (place / "more", frozenset({"a.md", "b.md"})),
    ]
    assert answer.warnings == (
        f"plugin {PLUGIN}: agents: '../out' leads out of the plugin: left out",
        f"plugin {PLUGIN}: agents: '/etc' leads out of the plugin: left out",
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"plugins": [1]}', '{"plugins": {"a": 1, "b": [1, {"installPath": 5}]}}'])
def test_a_broken_record_is_nobodys_plugin(tmp_path: Path, home: Path, text: str) -> None:
    write(home / ".claude/plugins/installed_plugins.json", text)
    assert found(tmp_path, home) == []


@pytest.mark.parametrize(
    ("folders", "place"),
    [
        (["cache/market/tools/1.9.0", "cache/market/tools/1.10.0"], "cache/market/tools/1.10.0"),
        (["cache/market/tools/unknown"], "cache/market/tools/unknown"),
        (["cache/market/tools/1.0", "marketplaces/market/plugins/tools"], "cache/market/tools/1.0"),
        (["marketplaces/market/plugins/tools"], "marketplaces/market/plugins/tools"),
        (["marketplaces/market/tools"], "marketplaces/market/tools"),
        ([], None),
    ],
)
def test_a_plugin_without_a_record_lies_where_claude_code_keeps_it(
    tmp_path: Path, home: Path, folders: list[str], place: str | None
) -> None:
    write(home / ".claude/settings.json", json.dumps({"enabledPlugins": {PLUGIN: True}}))
    for folder in folders:
        (home / ".claude/plugins" / folder).mkdir(parents=True)
    plugins = home / ".claude/plugins"
    assert [one.path for one in found(tmp_path, home)] == ([plugins / place / "agents"] if place else [])


def test_an_older_record_has_one_entry(tmp_path: Path, home: Path) -> None:
    place = install(home, tmp_path)
    record = {"version": 1, "plugins": {PLUGIN: {"installPath": str(place)}}}
    write(home / ".claude/plugins/installed_plugins.json", json.dumps(record))
    assert len(found(tmp_path, home)) == 1
