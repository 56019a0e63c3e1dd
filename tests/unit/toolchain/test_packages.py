"""Packages are taken only if their hash is in the lock, whoever installs them."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from toolchain import packages
from toolchain.failure import SetupError
from toolchain.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return Layout(tmp_path, tmp_path / "cache")


@pytest.fixture
def lock(layout: Layout) -> Path:
    """A lock with one package, which lies in the folder `index`."""
    wheel = layout.root / "index" / "example-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("example.py", "")
        archive.writestr("example-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
        archive.writestr(
            "example-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("example-1.0.dist-info/RECORD", "")
    lock = layout.root / "requirements.lock"
    lock.write_text(f"example==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return lock


@pytest.fixture(params=["uv", "pip", "uv that fails"], autouse=True)
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    there = packages.uv(Layout(Path.cwd(), Path())) or Path(sys.prefix, "bin", "uv")
    monkeypatch.setattr(
        packages, "uv", lambda layout: {"uv": there, "pip": None}.get(request.param, Path("/bin/false"))
    )
    return str(request.param)


def install(lock: Path, layout: Layout) -> list[str]:
    """The modules that came."""
    target = layout.root / "installed"
    where = ("--target", target, "--no-index", "--find-links", layout.root / "index")
    packages.install(lock, layout, for_uv=where, for_pip=where)
    return [path.name for path in target.glob("*.py")]


def test_what_the_lock_names_is_installed(
    lock: Path, layout: Layout, installer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(lock, layout) == ["example.py"]
    assert ("so pip is asked" in capsys.readouterr().err) == (installer == "uv that fails")


def test_the_folder_does_not_say_where_packages_come_from(
    lock: Path,
    layout: Layout,
    installer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "uv.toml").write_text("no settings of uv's at all")
    monkeypatch.chdir(tmp_path)
    assert install(lock, layout) == ["example.py"]
    assert ("so pip is asked" in capsys.readouterr().err) == (installer == "uv that fails")


def test_another_file_of_the_same_name_and_version_is_refused(lock: Path, layout: Layout) -> None:
    with (layout.root / "index" / "example-1.0-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"\0")
    with pytest.raises(SetupError, match=r"(?s)requirements\.lock.*[Hh]ash"):
        install(lock, layout)


def test_a_package_without_a_hash_is_refused(lock: Path, layout: Layout) -> None:
    lock.write_text("example==1.0\n")
    with pytest.raises(SetupError, match=r"(?s)requirements\.lock.*[Hh]ash"):
        install(lock, layout)
