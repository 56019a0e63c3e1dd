"""State and environment: what the user has configured is never overridden."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from toolchain import environment, state
from toolchain.environment import Ready
from toolchain.layout import Layout
from toolchain.pulumi.command_line import Cli
from toolchain.pulumi.plugins import Home, our_home

BACKEND, PASSPHRASE = "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    where = Layout(tmp_path / "a root", tmp_path / "cache")
    where.root.mkdir()
    return where


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "pulumi home"
    folder.mkdir()
    return folder


def test_state_is_made_once_and_is_nobody_elses_to_read(layout: Layout) -> None:
    state.ensure(layout)
    made = (layout.passphrase.read_text(), layout.owner.read_text())
    state.ensure(layout)
    assert (layout.passphrase.read_text(), layout.owner.read_text()) == made
    assert len(made[0]) >= 32 and len(bytes.fromhex(made[1])) == 8
    modes = {path: path.stat().st_mode & 0o777 for path in (layout.private, layout.state, layout.passphrase)}
    assert modes == {layout.private: 0o700, layout.state: 0o700, layout.passphrase: 0o600}


@pytest.mark.parametrize(
    ("configured", "credentials", "expected"),
    [
        ({}, None, {BACKEND, PASSPHRASE}),
        ({}, {"current": ""}, {BACKEND, PASSPHRASE}),
        ({}, {"current": "https://api.pulumi.com"}, {PASSPHRASE}),
        ({}, ["broken"], {BACKEND, PASSPHRASE}),
        ({BACKEND: "s3://bucket"}, None, {PASSPHRASE}),
        ({"PULUMI_CONFIG_PASSPHRASE": ""}, None, {BACKEND}),
        ({PASSPHRASE: "/somewhere"}, None, {BACKEND}),
    ],
)
def test_a_configured_backend_login_or_passphrase_is_respected(
    configured: dict[str, str], credentials: object, expected: set[str], layout: Layout, home: Path
) -> None:
    if credentials is not None:
        (home / "credentials.json").write_text(json.dumps(credentials))
    assert set(state.variables(layout, {"PULUMI_HOME": str(home), **configured})) == expected


def test_export_lines_survive_a_shell_and_doing_it_twice_changes_nothing(layout: Layout) -> None:
    ready = Ready(Cli(layout.cache / "it's" / "pulumi", (layout.cache / "it's",)), Home(our_home(layout), True), None)
    before = {"PATH": os.environ["PATH"], "HOME": str(layout.root)}

    def evaluated(start: dict[str, str]) -> dict[str, str]:
        lines = environment.export_lines(environment.variables(ready, layout, start))
        script = f"{lines}exec env -0"
        output = subprocess.run(["sh", "-c", script], env=start, check=True, capture_output=True, text=True).stdout
        return dict(line.split("=", 1) for line in output.split("\0") if line)

    once = evaluated(before)
    assert once["PATH"].split(":")[:2] == [str(layout.venv / "bin"), str(layout.cache / "it's")]
    assert once[BACKEND] == layout.state.as_uri()
    assert evaluated(environment.without_ours(layout, once)) == once


def test_set_up_does_not_take_its_own_work_for_found(layout: Layout) -> None:
    inside = {
        "PATH": f"{layout.venv}/bin:{layout.cache}/go/pulumi-1:/usr/bin",
        "PULUMI_HOME": str(our_home(layout)),
        BACKEND: layout.state.as_uri(),
        PASSPHRASE: str(layout.passphrase),
        "HOME": "/somebody",
    }
    assert environment.without_ours(layout, inside) == {"PATH": "/usr/bin", "HOME": "/somebody"}


def test_a_shell_made_ready_for_another_checkout_does_not_lead_into_its_state(layout: Layout, tmp_path: Path) -> None:
    there = Layout(tmp_path / "there", layout.cache)
    shell = {"PATH": "/usr/bin", **environment.variables(Ready(), there, {"PATH": "/usr/bin"})}
    told = environment.variables(Ready(), layout, environment.without_ours(layout, shell))
    assert told[BACKEND] == layout.state.as_uri()
    assert told[PASSPHRASE] == str(layout.passphrase)
    elsewhere = environment.without_ours(layout, {**shell, BACKEND: "s3://bucket"})
    assert BACKEND not in environment.variables(Ready(), layout, elsewhere)


@pytest.mark.parametrize("logged_in", [True, False])
def test_a_home_of_our_own_keeps_the_users_login(logged_in: bool, layout: Layout, home: Path) -> None:
    if logged_in:
        (home / "credentials.json").write_text("{}")
    told = environment.variables(
        Ready(None, Home(our_home(layout), ours=True), None), layout, {"PULUMI_HOME": str(home), "PATH": ""}
    )
    assert told["PULUMI_HOME"] == str(our_home(layout))
    assert told.get("PULUMI_CREDENTIALS_PATH") == (str(home) if logged_in else None)
