"""What `operate up` prepares for a stack: the password of Grafana, the images that set-up leaves to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalog import EXPORTERS_IMAGE, RUNNER, SERVICES
from errors import ConfigError
from operate import images
from operate.grafana_password import ensure_grafana_password, password_to_preview_with
from operate.pulumi_command import PulumiCommand
from tests.builders import settings_of
from toolchain.images import ALL, DEFAULT

# Keeps what it is told like pulumi does: arguments and input in one file each, the configuration in a third.
FAKE = """#!/bin/sh
cd "$(dirname "$0")"
for argument in "$@"; do
    case "$argument" in
        set) printf '%s\\n' "$*" > arguments; cat > input; exit "$(cat refuse)" ;;
        --json) cat config; exit 0 ;;
    esac
done
exit 9
"""


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PulumiCommand:
    program = tmp_path / "pulumi"
    program.write_text(FAKE)
    program.chmod(0o755)
    (tmp_path / "config").write_text("{}")
    (tmp_path / "refuse").write_text("0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return PulumiCommand(tmp_path, "production")


def test_a_password_is_generated_once_and_goes_to_pulumi_by_stdin(pulumi: PulumiCommand, tmp_path: Path) -> None:
    said = ensure_grafana_password(pulumi, settings_of("production"))
    password = (tmp_path / "input").read_text()
    assert len(password) >= 24
    assert said is not None and password not in said + (tmp_path / "arguments").read_text()
    assert "--secret grafanaPassword --stack production" in (tmp_path / "arguments").read_text()


@pytest.mark.parametrize(
    ("stack", "environment", "configured"),
    [
        ("dev", {}, {}),
        ("production", {"GRAFANA_PASSWORD": "x"}, {}),
        ("production", {}, {"promptcraft-hybrid:grafanaPassword": {"secret": True}}),
    ],
)
def test_a_password_that_is_there_or_needless_is_not_generated(
    stack: str, environment: dict[str, str], configured: dict[str, object], pulumi: PulumiCommand, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(json.dumps(configured))
    assert ensure_grafana_password(pulumi, settings_of(stack, environment)) is None
    assert password_to_preview_with(pulumi, settings_of(stack, environment)) == {}
    assert not (tmp_path / "input").exists()


def test_a_preview_has_a_password_of_its_own_and_writes_nothing(pulumi: PulumiCommand, tmp_path: Path) -> None:
    assert password_to_preview_with(pulumi, settings_of("production")).keys() == {"GRAFANA_PASSWORD"}
    assert not (tmp_path / "input").exists()


def test_a_password_that_pulumi_does_not_take_is_one_line(pulumi: PulumiCommand, tmp_path: Path) -> None:
    (tmp_path / "refuse").write_text("1")
    with pytest.raises(ConfigError, match="grafanaPassword: cannot be set"):
        ensure_grafana_password(pulumi, settings_of("production"))


def test_set_up_and_up_together_bring_every_image() -> None:
    assert images._BROUGHT == DEFAULT
    assert set(ALL) == {*SERVICES, EXPORTERS_IMAGE, RUNNER.name}
