"""What `operate up` prepares for a stack: secrets that nobody set, the images that set-up leaves to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from errors import ConfigError
from operate.generated_secrets import ensure_secrets, secrets_to_preview_with
from operate.pulumi_command import PulumiCommand
from settings import GENERATED_VARIABLE, fingerprint
from tests.builders import settings_of

# Keeps what it is told like pulumi does: all arguments, each input by its key, the configuration.
FAKE = """#!/bin/sh
cd "$(dirname "$0")"
for argument in "$@"; do
    case "$argument" in
        set) printf '%s\\n' "$*" >> arguments; cat > "input-$7"; exit "$(cat refuse)" ;;
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


TOKEN = "only-for-tests-0123456789"


ALL_GENERATED = {"grafanaPassword", "gatewayTokens", "redisPassword", "qdrantApiKey"}


def given(folder: Path) -> dict[str, str]:
    """What pulumi was given by stdin, by configuration key."""
    return {path.name.removeprefix("input-"): path.read_text() for path in folder.glob("input-*")}


def generated(folder: Path) -> dict[str, str]:
    """The secrets among it."""
    return {key: text for key, text in given(folder).items() if not key.startswith("generated.")}


def test_what_is_missing_is_generated_and_goes_to_pulumi_by_stdin(pulumi: PulumiCommand, tmp_path: Path) -> None:
    said = ensure_secrets(pulumi, settings_of("production"))
    made = generated(tmp_path)
    assert made.keys() == ALL_GENERATED
    assert len(set(made.values())) == len(ALL_GENERATED)
    shown = "".join(said) + (tmp_path / "arguments").read_text()
    assert all(len(secret) >= 24 and secret not in shown for secret in made.values())
    assert [f"pulumi config get {key} --stack production" in shown for key in made] == [True] * 4


def test_what_is_generated_for_the_stacks_own_is_marked_before_it_is_set(pulumi: PulumiCommand, tmp_path: Path) -> None:
    ensure_secrets(pulumi, settings_of("production"))
    marks = {key: text for key, text in given(tmp_path).items() if key.startswith("generated.")}
    made = generated(tmp_path)
    assert marks == {f"generated.{key}": fingerprint(made[key]) for key in ("redisPassword", "qdrantApiKey")}
    order = [line.split()[6] for line in (tmp_path / "arguments").read_text().splitlines()]
    assert all(order.index(mark) + 1 == order.index(mark.removeprefix("generated.")) for mark in marks)


@pytest.mark.parametrize(
    ("stack", "environment", "configured", "expected"),
    [
        ("dev", {}, (), set()),
        ("hybrid", {}, (), set()),
        ("production", {"GRAFANA_PASSWORD": "x"}, (), ALL_GENERATED - {"grafanaPassword"}),
        (
            "production",
            {"GATEWAY_TOKENS": TOKEN, "QDRANT_API_KEY": "x", "REDIS_URL": "redis://:x@cache:6379"},
            ("grafanaPassword",),
            set(),
        ),
        (
            "production",
            {"REDIS_URL": "redis://cache:6379"},
            tuple(ALL_GENERATED - {"redisPassword"}),
            {"redisPassword"},
        ),
        ("production", {}, tuple(ALL_GENERATED - {"qdrantApiKey"}), {"qdrantApiKey"}),
        ("cloud", {"ENVIRONMENT": "production"}, (), {"gatewayTokens"}),
    ],
)
def test_what_is_there_or_needless_is_not_generated(
    stack: str,
    environment: dict[str, str],
    configured: tuple[str, ...],
    expected: set[str],
    pulumi: PulumiCommand,
    tmp_path: Path,
) -> None:
    (tmp_path / "config").write_text(json.dumps({f"promptcraft-hybrid:{key}": {"secret": True} for key in configured}))
    ensure_secrets(pulumi, settings_of(stack, environment))
    assert generated(tmp_path).keys() == expected


def test_a_preview_is_given_what_is_missing_and_writes_nothing(pulumi: PulumiCommand, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(json.dumps({"promptcraft-hybrid:grafanaPassword": {"secret": True}}))
    stands_in = secrets_to_preview_with(pulumi, settings_of("production"))
    assert stands_in.keys() == {"GATEWAY_TOKENS", "REDIS_PASSWORD", "QDRANT_API_KEY", GENERATED_VARIABLE}
    assert given(tmp_path) == {}
    seen = settings_of("production", stands_in).secrets
    assert {name for name, secret in seen.items() if secret.is_own} == {"redis", "qdrant"}


def test_a_secret_that_pulumi_does_not_take_is_one_line(pulumi: PulumiCommand, tmp_path: Path) -> None:
    (tmp_path / "refuse").write_text("1")
    with pytest.raises(ConfigError, match="grafanaPassword: cannot be set"):
        ensure_secrets(pulumi, settings_of("production"))
