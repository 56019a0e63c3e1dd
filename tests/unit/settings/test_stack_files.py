"""The committed stack file, and over it the one that Pulumi writes on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from errors import ConfigError
from settings import bring_along, load_settings, stack_files
from tests.unit.settings.test_load import load, project, write

__all__ = ["project"]


def own(project: Path, text: str) -> None:
    path = project / ".promptcraft/stacks/Pulumi.dev.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def as_a_team(project: Path) -> None:
    text = (project / "Pulumi.yaml").read_text()
    assert "stackConfigDir: .promptcraft/stacks" in text
    (project / "Pulumi.yaml").write_text(text.replace("stackConfigDir: .promptcraft/stacks", "stackConfigDir: ."))


def test_this_machines_own_value_wins_over_the_committed_one(project: Path) -> None:
    write(project, "replicas: 2", "portOffset: 5")
    own(project, 'config:\n  promptcraft-hybrid:replicas: "3"\n')
    config = load(project).config
    assert (config.replicas, config.port_offset) == (3, 5)


def test_maps_are_laid_over_each_other_entry_by_entry(project: Path) -> None:
    write(project, "pin: {redis: deployed, qdrant: deployed}")
    own(project, "config:\n  promptcraft-hybrid:pin:\n    qdrant: docker_service\n")
    assert load(project).config.pin == {"redis": "deployed", "qdrant": "docker_service"}


def test_a_mistake_in_this_machines_own_file_is_told_by_its_place(project: Path) -> None:
    own(project, "config:\n  promptcraft-hybrid:replicas: none\n")
    with pytest.raises(ConfigError, match=r"^\.promptcraft/stacks/Pulumi\.dev\.yaml:2: replicas: 'none' is refused"):
        load(project)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("secretsprovider: awskms://x\n", "Pulumi.dev.yaml:1: secretsprovider: Pulumi does not read this here"),
        ("config:\n  promptcraft-hybrid:redisPassword:\n    secure: v1:x\n", "Pulumi.dev.yaml:2: .*move it there"),
        ("config:\n  docker:host: ssh://h\n", "Pulumi.dev.yaml:2: .*pulumi config set --stack dev docker:host"),
        (
            "config:\n  promptcraft-hybrid:redisPassword: open\n",
            "Pulumi.dev.yaml:2: .*pulumi config set --stack dev --secret redisPassword",
        ),
    ],
)
def test_what_only_pulumi_would_read_is_refused_where_it_does_not(project: Path, text: str, told: str) -> None:
    (project / "Pulumi.dev.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        load(project)


def test_what_pulumi_wrote_is_brought_along_once_and_counts_from_then_on(project: Path) -> None:
    committed = (
        "encryptionsalt: v1:salt\n"
        "config:\n  promptcraft-hybrid:replicas: 2\n"
        "  promptcraft-hybrid:redisPassword:\n    secure: v1:one\n  docker:host: ssh://h\n"
    )
    (project / "Pulumi.dev.yaml").write_text(committed)
    files = stack_files(project, "dev")
    assert bring_along(project, files)
    assert yaml.safe_load((project / files.own).read_text()) == {
        "encryptionsalt": "v1:salt",
        "config": {"promptcraft-hybrid:redisPassword": {"secure": "v1:one"}, "docker:host": "ssh://h"},
    }
    assert load(project).config.replicas == 2
    (project / "Pulumi.dev.yaml").write_text(committed.replace("v1:one", "v1:two"))
    assert not bring_along(project, files)
    assert "v1:one" in (project / files.own).read_text()


def test_a_file_of_settings_alone_has_nothing_to_be_brought_along(project: Path) -> None:
    write(project, "replicas: 2")
    assert not bring_along(project, stack_files(project, "dev"))
    assert not (project / ".promptcraft").exists()


def test_a_team_that_shares_a_state_has_one_file_with_its_secrets(project: Path) -> None:
    as_a_team(project)
    (project / "Pulumi.dev.yaml").write_text(
        "encryptionsalt: v1:salt\nconfig:\n  promptcraft-hybrid:redisPassword:\n    secure: v1:x\n"
    )
    files = stack_files(project, "dev")
    assert files.own == files.committed == "Pulumi.dev.yaml"
    assert not bring_along(project, files)
    told = load_settings(project, "dev", {}, {"promptcraft-hybrid:redisPassword": "decrypted"})
    assert told.secrets["redis"].value == "decrypted"
