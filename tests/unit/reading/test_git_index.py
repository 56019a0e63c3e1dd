"""Git's index, as the real git writes it in each of its versions, and whatever else the file may hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reading.git_index import Index, read
from tests.unit.asking import EXAMPLES

NAMES = (".editorconfig", ".env", ".env.template", "a/.env", "a/b/" + "deep/" * 60 + "file", "z" * 5000)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def index_of(folder: Path, version: int, hashes: str) -> bytes:
    folder.mkdir()
    git(folder, "init", "-q", f"--object-format={hashes}")
    # Names longer than a file system takes are entries all the same.
    (folder / "file").write_text("x")
    git(folder, "add", "file")
    listed = subprocess.run(["git", "ls-files", "-s", "file"], cwd=folder, check=True, capture_output=True, text=True)
    blob = listed.stdout.split()[1]
    for name in NAMES:
        git(folder, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    if version == 3:
        (folder / "later").write_text("x")
        git(folder, "add", "--intent-to-add", "later")
    git(folder, "update-index", "--index-version", str(version))
    data = (folder / ".git/index").read_bytes()
    assert data[4:8] == version.to_bytes(4, "big")
    return data


@pytest.mark.parametrize("hashes", ["sha1", "sha256"])
@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_name_is_found_and_no_other(version: int, hashes: str, tmp_path: Path) -> None:
    data = index_of(tmp_path / "r", version, hashes)
    for name in NAMES:
        assert read(data, name.encode()) == Index((name.encode(),)), name[:40]
    for name in (".en", "env", ".env.", "b/.env", "a", "a/", ""):
        assert read(data, name.encode()) == Index(()), name
    assert read(data, b".ENV") == Index((b".env",))


@pytest.mark.parametrize("version", [2, 4])
def test_what_is_cut_off_is_no_index(version: int, tmp_path: Path) -> None:
    data = index_of(tmp_path / "r", version, "sha1")
    assert [end for end in range(0, len(data), 7) if read(data[:end], b".env") is not None] == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([2, 3, 4]), st.integers(0, 2**32 - 1), st.binary(max_size=20))
def test_whatever_the_file_holds_nothing_is_raised(rest: bytes, version: int, count: int, path: bytes) -> None:
    for data in (rest, b"DIRC" + version.to_bytes(4, "big") + count.to_bytes(4, "big") + rest):
        found = read(data, path)
        assert found is None or isinstance(found, Index)


@pytest.mark.parametrize("version", [2, 3, 4])
@settings(max_examples=EXAMPLES, deadline=None)
@given(changes=st.dictionaries(st.integers(0, 10_000), st.integers(0, 255), min_size=1, max_size=8))
def test_no_damage_raises(version: int, changes: dict[int, int], tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(_whole(version, tmp_path_factory))
    for place, value in changes.items():
        data[place % len(data)] = value
    found = read(bytes(data), b".env")
    assert found is None or isinstance(found, Index)


_WHOLE: dict[int, bytes] = {}


def _whole(version: int, factory: pytest.TempPathFactory) -> bytes:
    if version not in _WHOLE:
        _WHOLE[version] = index_of(factory.mktemp("index") / "r", version, "sha1")
    return _WHOLE[version]
