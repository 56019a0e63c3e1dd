"""The generated pages: as they are committed, of the committed files alone, and with examples that are accepted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from discovery.config import parse_agents_config, parse_discovery_config
from docs import configuration, generate
from docs.configuration import OTHER_VARIABLES, configuration_page
from settings import StackConfig
from tests.builders import ROOT, settings_of

STACKS = ("dev", "hybrid", "production", "cloud")


def test_the_committed_pages_are_as_generated() -> None:
    pages = generate.pages()
    out_of_date = [name for name, text in pages.items() if (ROOT / name).read_text(encoding="utf-8") != text]
    assert out_of_date == [], "run: make docs"


def committed(folder: Path) -> Path:
    """A repository with the files that the pages are made of."""
    for name in ("Pulumi.yaml", *(f"Pulumi.{stack}.yaml" for stack in STACKS), "images", ".mcp"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_what_this_machine_has_of_its_own_is_in_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = generate.pages()
    root = committed(tmp_path)
    monkeypatch.setattr(generate, "ROOT", root)
    monkeypatch.setenv("ENABLE_MONITORING", "true")
    (root / ".env").write_text("ENVIRONMENT=production\n")
    (root / ".promptcraft/stacks").mkdir(parents=True)
    (root / ".promptcraft/stacks/Pulumi.dev.yaml").write_text("config: {promptcraft-hybrid:replicas: 7}\n")
    (root / "Pulumi.mine.yaml").write_text("# My own.\nconfig: {promptcraft-hybrid:replicas: 5}\n")
    assert generate.pages() == pages


def test_a_new_stack_is_in_both_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = committed(tmp_path)
    (root / "Pulumi.tiny.yaml").write_text("# One service.\nconfig: {promptcraft-hybrid:services: [redis]}\n")
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    monkeypatch.setattr(generate, "ROOT", root)
    settings, pictures = generate.pages().values()
    assert "tiny `[redis]`" in settings
    assert "## tiny\n\nOne service.\n" in pictures and "network promptcraft-tiny-network" in pictures


def test_a_key_that_nobody_describes_is_an_error(tmp_path: Path) -> None:
    root = committed(tmp_path)
    text = (root / "Pulumi.yaml").read_text()
    (root / "Pulumi.yaml").write_text(re.sub(r"  runner:\n(    .*\n)+", "", text))
    with pytest.raises(ValueError, match=r"config\.runner: describe it here"):
        configuration_page(root, STACKS)


def test_a_key_without_a_group_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "GROUPS", configuration.GROUPS[1:])
    with pytest.raises(ValueError, match=r"GROUPS: .*replicas"):
        configuration_page(ROOT, STACKS)


def test_the_examples_are_accepted() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    *stack, servers, agents = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert stack
    defaults = settings_of("dev").config.model_dump(by_alias=True)
    for example in stack:
        config = yaml.safe_load(example)["config"]
        named = {key.removeprefix("promptcraft-hybrid:"): value for key, value in config.items()}
        assert StackConfig.model_validate(defaults | named) != StackConfig.model_validate(defaults)
    assert parse_discovery_config(servers.encode()).servers.keys() == {"qdrant", "docs", "weather"}
    assert parse_agents_config(agents.encode()).agents.keys() == {"ai-engineer"}


def test_a_variable_that_is_said_to_be_read_is_read() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    code = "".join((ROOT / file).read_text() for file in listed.split() if not file.startswith(("tests/", "docs/")))
    named = [word for text in (*OTHER_VARIABLES, *OTHER_VARIABLES.values()) for word in re.findall(r"[A-Z_]{6,}", text)]
    assert [word for word in named if word not in code] == []
