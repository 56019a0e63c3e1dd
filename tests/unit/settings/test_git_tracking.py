"""Whether a file came with a repository: each way in which the real git lays one out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from settings.git_tracking import Tracking, tracking
from tests.unit.reading.test_git_index import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that tracks `.env` and `below/.env`, and lets `own/.env` be."""
    top = tmp_path / "repository"
    for name in (".env", "below/.env", "own/.env", "file"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("A=1\n")
    git(top, "init", "-q")
    git(top, "add", ".env", "below/.env", "file")
    git(top, "commit", "-qm", "All")
    return top


def said(top: Path) -> list[str]:
    return [tracking(top / name).value for name in (".env", "below/.env", "own/.env")]


USUAL = ["tracked", "tracked", "untracked"]


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_file_counts_by_its_entry(version: str, repository: Path) -> None:
    git(repository, "update-index", "--index-version", version)
    assert said(repository) == USUAL
    git(repository, "rm", "-q", "--cached", ".env")
    assert said(repository) == ["untracked", "tracked", "untracked"]


def test_a_path_through_links_and_dots_is_the_same_file(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository / "below")
    assert tracking(tmp_path / "link/.env") is Tracking.TRACKED
    assert tracking(repository / "own/../.env") is Tracking.TRACKED
    (repository / "own/.env").unlink()
    (repository / "own/.env").symlink_to("../file")
    assert tracking(repository / "own/.env") is Tracking.TRACKED, "its text is the repository's"
    (repository / ".env").unlink()
    (repository / ".env").symlink_to(tmp_path / "elsewhere")
    assert tracking(repository / ".env") is Tracking.TRACKED, "its name is the repository's"


def test_a_worktree_has_an_index_of_its_own(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other")
    assert said(tmp_path / "tree") == USUAL
    git(tmp_path / "tree", "rm", "-q", "--cached", ".env")
    assert said(tmp_path / "tree")[0] == "untracked"


def test_a_submodule_has_an_index_of_its_own(repository: Path, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    git(above, "init", "-q")
    git(above, "submodule", "--quiet", "add", str(repository), "part")
    assert (above / "part/.git").is_file()
    assert said(above / "part") == USUAL


def test_a_split_index_is_read_whole(repository: Path) -> None:
    git(repository, "update-index", "--split-index")
    assert said(repository) == USUAL
    git(repository, "add", "-f", "own/.env")
    assert said(repository) == ["tracked"] * 3
    for shared in (repository / ".git").glob("sharedindex.*"):
        shared.unlink()
    assert "untracked" not in said(repository)[:2]


def test_what_a_sparse_checkout_keeps_as_a_folder_is_tracked(repository: Path) -> None:
    git(repository, "sparse-checkout", "set", "--cone", "--sparse-index", "own")
    (repository / "below").mkdir(exist_ok=True)
    (repository / "below/.env").write_text("A=2\n")
    assert b"below/\0" in (repository / ".git/index").read_bytes()
    assert tracking(repository / "below/.env") is Tracking.TRACKED


@pytest.mark.parametrize("damage", [b"", b"DIRC", b"DIRC\0\0\0\5\0\0\0\0" + bytes(20)])
def test_an_index_that_cannot_be_read_is_unknown(damage: bytes, repository: Path) -> None:
    (repository / ".git/index").write_bytes(damage)
    assert said(repository) == ["unknown"] * 3


def test_a_pipe_in_the_place_of_the_index_is_unknown_at_once(repository: Path) -> None:
    (repository / ".git/index").unlink()
    os.mkfifo(repository / ".git/index")
    assert said(repository) == ["unknown"] * 3


def test_an_index_of_a_gigabyte_is_unknown(repository: Path) -> None:
    os.truncate(repository / ".git/index", 1 << 30)
    assert said(repository) == ["unknown"] * 3


@pytest.mark.parametrize("link", [None, "gitdir: /nowhere", "", "gitdir:"])
def test_without_an_index_nothing_is_tracked(link: str | None, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    if link is None:
        git(tmp_path, "init", "-q")
    else:
        (tmp_path / ".git").write_text(link)
    assert tracking(tmp_path / ".env") is Tracking.UNTRACKED
