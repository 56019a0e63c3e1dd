"""Locks hold exactly what their requirements ask for, with the hash of every file."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field

import pytest

from tests.builders import ROOT
from toolchain.requirement_locks import LOCKS, Lock

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;]+)")
_FILES = [lock.file for lock in LOCKS]


@dataclass
class Entry:
    """One package of a lock; `asked_by` are the files of requirements that name it."""

    version: str
    hashes: set[str] = field(default_factory=set)
    asked_by: set[str] = field(default_factory=set)


def normalized(name: str) -> str:
    """As an index compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked(requirements: str) -> dict[str, str]:
    """Version by name, with what included files ask for."""
    versions: dict[str, str] = {}
    for line in (ROOT / requirements).read_text().splitlines():
        if line.startswith("-r "):
            versions |= asked(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            pin = _PIN.fullmatch(line)
            assert pin, f"{requirements}: {line}: write NAME==VERSION"
            versions[normalized(pin["name"])] = pin["version"]
    return versions


def locked(file: str) -> dict[str, Entry]:
    """Each package of a lock by its name."""
    entries: dict[str, Entry] = {}
    for line in (ROOT / file).read_text().splitlines():
        if pin := _PIN.match(line):
            entry = entries.setdefault(normalized(pin["name"]), Entry(pin["version"]))
            assert entry.version == pin["version"], f"{file}: {pin['name']} has two versions"
        elif hashed := re.fullmatch(r" +--hash=sha256:([0-9a-f]{64})( \\)?", line):
            entry.hashes.add(hashed[1])
        elif asking := re.fullmatch(r" +#(?: via)? +-r (.+)", line):
            entry.asked_by.add(asking[1])
        else:
            assert re.match(" *#", line), f"{file}: {line}: neither a package nor a hash nor a comment"
    return entries


def test_every_file_of_requirements_has_a_lock() -> None:
    told = subprocess.run(
        ["git", "ls-files", "*requirements*.txt"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert sorted(told.stdout.split()) == sorted(lock.requirements for lock in LOCKS)


@pytest.mark.parametrize("lock", LOCKS, ids=_FILES)
def test_a_lock_holds_exactly_what_is_asked_for(lock: Lock) -> None:
    entries = locked(lock.file)
    direct = {name: entry.version for name, entry in entries.items() if entry.asked_by}
    assert direct == asked(lock.requirements), "run `make lock`"


@pytest.mark.parametrize("file", _FILES)
def test_everything_in_a_lock_has_a_hash_and_nothing_a_place(file: str) -> None:
    assert [name for name, entry in locked(file).items() if not entry.hashes] == []
    assert "://" not in (ROOT / file).read_text()


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.within], ids=lambda lock: lock.file)
def test_what_two_locks_share_is_the_same_in_both(lock: Lock) -> None:
    assert lock.within
    whole = locked(lock.within.file)
    # The same files, too: a version can be published twice, with other wheels.
    assert {
        name: entry.version
        for name, entry in locked(lock.file).items()
        if name in whole and (entry.version, entry.hashes) != (whole[name].version, whole[name].hashes)
    } == {}


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if len(lock.targets) > 1], ids=lambda lock: lock.file)
def test_nothing_in_an_image_stands_under_a_condition(lock: Lock) -> None:
    assert " ; " not in (ROOT / lock.file).read_text()
