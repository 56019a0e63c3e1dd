"""Content hashes and the shared cache: done once, done whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain import content, python_environment
from toolchain.layout import cached_folder, layout, write_private


@given(st.lists(st.text(max_size=5), max_size=5), st.lists(st.text(max_size=5), max_size=5))
def test_different_parts_have_different_hashes_even_where_their_concatenation_is_the_same(
    one: list[str], other: list[str]
) -> None:
    assert (content.of_parts(one) == content.of_parts(other)) == (one == other)


def _rename(folder: Path) -> None:
    (folder / "a").rename(folder / "c")


def _edit(folder: Path) -> None:
    (folder / "sub" / "b").write_text("other")


def _add(folder: Path) -> None:
    (folder / "new").touch()


@pytest.mark.parametrize("change", [_rename, _edit, _add])
def test_a_folders_hash_changes_with_names_and_contents(tmp_path: Path, change: Callable[[Path], None]) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("a")
    (tmp_path / "sub" / "b").write_text("b")
    before = content.of_folder(tmp_path)
    assert content.of_folder(tmp_path) == before
    change(tmp_path)
    assert content.of_folder(tmp_path) != before


def test_what_tools_leave_behind_and_what_is_left_out_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    before = content.of_folder(tmp_path, frozenset({"tests"}))
    for name in ("__pycache__", ".mypy_cache", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    assert content.of_folder(tmp_path, frozenset({"tests"})) == before


def test_a_cached_folder_that_fails_half_way_is_not_there_and_can_be_made_again(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(RuntimeError, match="died"), cached_folder(target) as partial:
        assert partial is not None
        (partial / "half").touch()
        raise RuntimeError("died")
    assert not target.exists()
    with cached_folder(target) as partial:
        assert partial is not None
        assert list(partial.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["target"]


def test_of_two_that_want_the_same_folder_one_makes_it_and_the_other_waits(tmp_path: Path) -> None:
    target = tmp_path / "target"
    entered = threading.Event()
    given: list[Path | None] = []

    def want() -> None:
        with cached_folder(target) as partial:
            entered.set()
            given.append(partial)

    other = threading.Thread(target=want)
    with cached_folder(target) as partial:
        assert partial is not None
        other.start()
        assert not entered.wait(0.3)
        (partial / "whole").touch()
    other.join()
    assert given == [None]
    assert (target / "whole").exists()


def test_a_private_file_is_readable_by_its_owner_only_and_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "private" / "file"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PROMPTCRAFT_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/promptcraft")),
        ({}, Path.home() / ".cache" / "promptcraft"),
    ],
)
def test_the_cache_lies_where_it_is_told(environment: dict[str, str], expected: Path) -> None:
    assert layout(environment).cache == expected


def test_the_python_environment_is_stale_when_its_lock_changes(tmp_path: Path) -> None:
    (tmp_path / "requirements-dev.lock").write_text("a==1\n")
    before = python_environment.wanted(tmp_path, "requirements-dev.lock")
    assert python_environment.wanted(tmp_path, "requirements-dev.lock") == before
    (tmp_path / "requirements-dev.lock").write_text("a==2\n")
    assert python_environment.wanted(tmp_path, "requirements-dev.lock") != before
