"""One look a deploy: shared by preview and update, and confirmed by the one that acts on it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from discovery.deploy_look import confirm, take
from discovery.report import Finding, NamedBy, Report, Verdict
from errors import ConfigError
from settings import load_settings
from tests.builders import ROOT, finding, report_of

QDRANT = finding("qdrant", endpoint="http://10.0.0.5:6333", evidence="QDRANT_HOST", named_by=NamedBy.OPERATOR)


@pytest.mark.parametrize(
    "now", [(QDRANT,), (QDRANT, finding("zen-mcp")), (finding("qdrant", endpoint="http://10.0.0.9:6333"), QDRANT)]
)
def test_what_was_previewed_is_applied_while_it_is_there(now: tuple[Finding, ...]) -> None:
    confirm(report_of([QDRANT]), report_of(now), ("qdrant", "zen-mcp"))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ((replace(QDRANT, verdict=Verdict.IMPOSTOR),), "impostor: said so"),
        ((replace(QDRANT, verdict=Verdict.UNREACHABLE),), "unreachable: said so"),
        ((replace(QDRANT, candidate=replace(QDRANT.candidate, container_id="f" * 64)),), "verified: said so"),
        ((finding("qdrant", endpoint="http://10.0.0.9:6333"),), "not found"),
    ],
)
def test_what_changed_its_identity_since_the_preview_is_refused(now: tuple[Finding, ...], expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"qdrant: http://10.0.0.5:6333 \(QDRANT_HOST\) .*\({expected}\)"):
        confirm(report_of([QDRANT]), report_of(now), ("qdrant",))
    confirm(report_of([QDRANT]), report_of(now), ("redis",))


def test_a_server_in_a_file_deep_below_is_found_again_by_the_whole_of_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two that differ only where a message is cut.
    deep = "/".join(["a-folder-with-a-rather-long-name"] * 4)
    home = tmp_path / "home"
    for name in ("one", "other"):
        path = home / ".claude" / "mcp" / deep / name / "servers.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"mcpServers": {name: {"command": "npx", "args": ["-y", f"{name}@1.0.0"]}}}))
    monkeypatch.setenv("HOME", str(home))
    for variable in ("CLAUDE_CONFIG_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    root = copy_of_the_project(tmp_path)
    look = take(root, load_settings(root, "dev", os.environ))
    found = {name: look.report.services[name].findings[0].candidate for name in ("one", "other")}
    assert all(len(candidate.evidence) <= 120 < len(candidate.key) for candidate in found.values())
    look.confirm_started({name: candidate.key for name, candidate in found.items()})
    assert '"one@1.0.0"' in look.launches["one", found["one"].key]


@pytest.mark.parametrize("said_in", ["environment", ".env"])
def test_the_texts_of_agents_are_read_where_the_look_saw_them(
    said_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project's `.env` says neither to the look nor to who reads them again which files are the user's."""
    home, moved = tmp_path / "home", tmp_path / "moved"
    for folder, words in ((home / ".claude", "at home"), (moved, "moved")):
        (folder / "agents").mkdir(parents=True)
        (folder / "agents" / "mine.md").write_text(f"---\nname: mine\ndescription: It helps.\n---\n{words}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    root = copy_of_the_project(tmp_path)
    if said_in == ".env":
        (root / ".env").write_text(f"CLAUDE_CONFIG_DIR={moved}\n")
    else:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(moved))
    settings = load_settings(root, "dev", os.environ)
    assert settings.environment["CLAUDE_CONFIG_DIR"] == str(moved)
    look = take(root, settings)
    assert json.loads(look.agent_texts["mine"])["prompt"] == ("at home" if said_in == ".env" else "moved")


def copy_of_the_project(folder: Path) -> Path:
    root = folder / "root"
    (root / "images").mkdir(parents=True)
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml", "images/references.json"):
        shutil.copy(ROOT / name, root / name)
    return root


def test_the_pins_are_those_that_the_look_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = copy_of_the_project(tmp_path)
    (root / "pins").mkdir()
    pin = root / "pins/notes.json"
    pin.write_text('{"schema_version": 1, "server": null, "tools": []}')
    settings = load_settings(root, "dev", os.environ)
    seen = take(root, settings)
    assert json.loads(seen.tool_pins["notes"])["tools"] == []
    assert Report.from_json(seen.report.to_json()).tool_pins == seen.report.tool_pins
    # As a snapshot of before there were pins.
    document = seen.report.to_json()
    del document["tool_pins"]
    assert Report.from_json(document).tool_pins == {}
    monkeypatch.setattr("discovery.deploy_look.one_look", lambda *_: seen.report)
    for change in ('{"schema_version": 1, "server": null, "tools": [{"name": "a"}]}', None):
        pin.unlink() if change is None else pin.write_text(change)
        with pytest.raises(ConfigError, match=r"pins/notes.json:1: file: is another since the look; preview again"):
            take(root, settings)
