"""A Chromium for the page's tests: taken where it is, installed where that may be done, otherwise named as missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from toolchain import apt, browser
from toolchain.failure import SetupError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_one_that_is_here_is_taken_and_nothing_is_installed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = path / "chromium"
    program.touch(mode=0o755)
    monkeypatch.setattr(apt, "install", lambda *_: pytest.fail("nothing is to be installed"))
    browser.ensure()
    assert browser.find() == str(program)


def test_debians_is_installed_where_there_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []

    def install(packages: Sequence[str], purpose: str) -> None:
        installed.extend(packages)

    monkeypatch.setattr(apt, "install", install)
    browser.ensure()
    assert installed == ["chromium"]


def test_where_none_can_be_had_set_up_goes_on_and_says_what_goes_untested(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(packages: Sequence[str], purpose: str) -> None:
        raise SetupError("not root")

    monkeypatch.setattr(apt, "install", install)
    browser.ensure()
    assert "the page goes untested: not root" in capsys.readouterr().err
