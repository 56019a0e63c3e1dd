"""`make up`: one look for the whole command, taken once nothing that an update left is in its way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

import operate.__main__ as operate
from operate.pulumi_command import PulumiCommand
from settings import StackSettings
from tests.builders import settings_of


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The steps of an `up` as they come, each with the deployment whose look it shares."""
    taken: list[tuple[str, str]] = []

    def step(name: str) -> int:
        taken.append((name, os.environ.get("PROMPTCRAFT_DEPLOYMENT", "")))
        return 0

    @contextmanager
    def alone(pulumi: PulumiCommand) -> Iterator[None]:
        yield

    monkeypatch.setenv("PROMPTCRAFT_DEPLOYMENT", "")
    monkeypatch.setattr(operate, "_settle", lambda *_: step("settle"))
    monkeypatch.setattr(operate, "_generate_secrets", lambda *_: step("secrets"))
    monkeypatch.setattr(operate, "load_settings", lambda *_: settings_of("dev"))
    monkeypatch.setattr(operate, "bring_images", lambda *_: step("look for images"))
    monkeypatch.setattr(PulumiCommand, "read", lambda *_: None)
    monkeypatch.setattr(PulumiCommand, "run", lambda *_, **__: step("deploy"))
    monkeypatch.setattr(PulumiCommand, "standing_still", alone)
    monkeypatch.setattr(operate, "start_stopped", lambda *_: ())
    monkeypatch.setattr(operate, "_checkpoint", lambda _: None)
    monkeypatch.setattr("docker.from_env", lambda: None)
    monkeypatch.setattr(operate, "status", lambda *_, **__: step("status"))
    return taken


def test_the_look_for_images_is_the_deployments_and_comes_after_what_was_left(
    steps: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert operate.up(PulumiCommand(tmp_path, "dev"), Console(quiet=True)) == 0
    assert [name for name, _ in steps] == ["settle", "secrets", "look for images", "deploy", "status"]
    looks = dict(steps)
    assert looks["settle"] == ""
    assert looks["look for images"] == looks["deploy"] == str(os.getpid())


def test_the_look_knows_the_secrets_that_pulumi_keeps(
    steps: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Redis of somebody else's says who it is to its password only."""
    kept = {
        "promptcraft-hybrid:redisPassword": {"value": "redis-secret", "secret": True},
        "promptcraft-hybrid:replicas": {"value": "2", "secret": False},
    }
    given: list[object] = []

    def load(*arguments: object) -> StackSettings:
        given.append(arguments[3:])
        return settings_of("dev")

    monkeypatch.setattr(PulumiCommand, "read", lambda *_: json.dumps(kept))
    monkeypatch.setattr(operate, "load_settings", load)
    assert operate.up(PulumiCommand(tmp_path, "dev"), Console(quiet=True)) == 0
    assert given == [({"promptcraft-hybrid:redisPassword": "redis-secret"},)]
