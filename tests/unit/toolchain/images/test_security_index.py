"""What is built from Debian's packages is built anew when the security archive changed, and nobody waits to be told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.answering import answering
from tests.waiting import until
from toolchain import apt
from toolchain.images import debian_base, recipes, security_index
from toolchain.images.security_index import EVERY_SECONDS
from toolchain.layout import Layout

ROOT = Path(__file__).resolve().parents[4]
TRIXIE = frozenset({"trixie"})
# As the archive has it, shortened.
INDEX = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
Suite: stable-security
Date: {date}
Valid-Until: Wed, 02 Dec 2026 22:33:13 UTC
"""
FIRST, SECOND = "Wed, 25 Nov 2026 22:33:13 UTC", "Fri, 27 Nov 2026 08:11:09 UTC"


@dataclass
class Archive:
    """A security archive; `date` is None where it answers with an error."""

    date: str | None = FIRST
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        return (200, INDEX.format(date=self.date).encode()) if self.date else (503, b"")


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    archive = Archive()
    with answering(archive.answer) as port:
        site = f"http://127.0.0.1:{port}/debian-security/"
        monkeypatch.setattr(apt, "mirrors", lambda: (apt.Mirror(site, security_index.LABEL),))
        yield archive


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(ROOT, tmp_path)


def test_the_date_is_that_of_the_suites_security_index(archive: Archive, layout: Layout) -> None:
    assert security_index.date(layout, "trixie") == ""
    security_index.ask(layout, TRIXIE, now=0.0)
    assert security_index.date(layout, "trixie") == FIRST
    assert archive.asked == ["/debian-security/dists/trixie-security/InRelease"]


def test_without_an_answer_the_last_date_is_kept(archive: Archive, layout: Layout) -> None:
    security_index.ask(layout, TRIXIE, now=0.0)
    archive.date = None
    security_index.ask(layout, TRIXIE, now=1.0)
    assert security_index.date(layout, "trixie") == FIRST


def test_a_change_renames_what_stands_on_the_suite_and_nothing_else(archive: Archive, layout: Layout) -> None:
    def names() -> dict[str, str]:
        return {name: recipes.tag(recipe, layout) for name, recipe in recipes.RECIPES.items()}

    security_index.ask(layout, debian_base.SUITES, now=0.0)
    assert {security_index.date(layout, suite) for suite in debian_base.SUITES} == {FIRST}
    before = names()
    assert names() == before
    archive.date = SECOND
    security_index.ask(layout, TRIXIE, now=1.0)
    changed = {name for name, tag in names().items() if tag != before[name]}
    assert changed == {
        name for name, recipe in recipes.RECIPES.items() if recipe.base == "python" or recipe.suite in TRIXIE
    }


def test_who_builds_asks_first_and_once(archive: Archive, layout: Layout) -> None:
    archive.date = None
    security_index.ask_first(layout, TRIXIE)
    security_index.ask_first(layout, TRIXIE)
    assert len(archive.asked) == 1
    # A day later, and then never again.
    archive.date = FIRST
    security_index.ask(layout, TRIXIE, now=time.time() - EVERY_SECONDS - 1)
    security_index.ask_first(layout, TRIXIE)
    assert len(archive.asked) == 2


def test_a_start_asks_once_a_day_and_waits_for_no_answer(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.posix_spawn", lambda path, words, environment, **more: started.append(words))
    now = EVERY_SECONDS * 20000
    assert security_index.ask_meanwhile(layout, TRIXIE, now)
    assert started[0][1:] == ["-m", "toolchain", "ask-security-index", "trixie"]
    monkeypatch.setattr(apt, "mirrors", lambda: ())
    security_index.ask(layout, TRIXIE, now)
    assert not security_index.ask_meanwhile(layout, TRIXIE, now + EVERY_SECONDS - 1)
    assert security_index.ask_meanwhile(layout, TRIXIE, now + EVERY_SECONDS)
    assert len(started) == 2


def test_the_process_that_asks_is_a_command_of_set_up(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is told by this machine's apt, it writes down that it asked."""
    monkeypatch.setenv("PROMPTCRAFT_CACHE", str(layout.cache))
    monkeypatch.setenv("PATH", "/nowhere")
    before = time.time()
    assert security_index.ask_meanwhile(layout, TRIXIE, before)
    until(lambda: any(layout.cache.glob("security-index.json")), seconds=30)
    assert not security_index.ask_meanwhile(layout, TRIXIE, before)
