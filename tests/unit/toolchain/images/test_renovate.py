"""renovate.json finds every tag and every file of requirements: what it does not find grows old without a word."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from tests.builders import ROOT
from toolchain.images import references
from toolchain.requirement_locks import LOCKS

RENOVATE: dict[str, Any] = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))


def chosen(patterns: list[str]) -> list[str]:
    """The tracked files that `patterns` (each a regular expression between slashes) choose."""
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in told.stdout.splitlines() if any(re.search(each.strip("/"), name) for each in patterns)]


def found() -> set[tuple[str, str]]:
    """Each file and the `name:tag` that Renovate reads in it."""
    return {
        (file, f"{match['depName']}:{match['currentValue']}")
        for manager in RENOVATE["customManagers"]
        for file in chosen(manager["managerFilePatterns"])
        for text in manager["matchStrings"]
        for match in re.finditer(text.replace("(?<", "(?P<"), (ROOT / file).read_text(encoding="utf-8"))
    }


def test_every_tag_is_found_where_it_is_written() -> None:
    known = references.load(ROOT)
    tags = {(str(references.FILE), entry.reference) for entry in known.values() if entry.reference}
    defaults = {
        (f"{entry.build.context}/Dockerfile", known[base].reference)
        for entry in known.values()
        if entry.build
        for base in entry.build.bases.values()
    }
    assert found() == tags | defaults


def test_every_file_of_requirements_is_found() -> None:
    patterns = RENOVATE["pip_requirements"]["managerFilePatterns"]
    assert sorted(chosen(patterns)) == sorted(lock.requirements for lock in LOCKS)


def test_each_tag_of_today_is_one_that_the_rules_allow() -> None:
    allowed = {
        name: rule["allowedVersions"].strip("/")
        for rule in RENOVATE["packageRules"]
        for name in rule.get("matchPackageNames", ())
    }
    tags = dict(tag.rsplit(":", 1) for _, tag in found())
    assert allowed
    assert {name: tags[name] for name, pattern in allowed.items() if not re.search(pattern, tags[name])} == {}
