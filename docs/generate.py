"""`python -m docs.generate`: write the pages that are made of the code; a test fails while they are out of date."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from docs.configuration import configuration_page
from docs.stacks import stacks_page

ROOT = Path(__file__).resolve().parent.parent
# In the order in which people meet them; any other follows.
_ORDER = ("dev", "hybrid", "production", "cloud")
# All that the pages are made of, besides the code.
_COMMITTED = ("Pulumi.yaml", "Pulumi.*.yaml", "images/references.json", ".mcp/discovery-config.yaml")


def pages() -> Mapping[str, str]:
    """Each page's text by its path from the project's folder."""
    with tempfile.TemporaryDirectory() as folder:
        # Not the project's folder: what this machine has of its own there is in no page.
        root = Path(folder)
        names = _tracked(*_COMMITTED)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        stacks = _stacks(names)
        return {
            "docs/configuration.md": configuration_page(root, stacks),
            "docs/stacks.md": stacks_page(root, stacks),
        }


def _tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def _stacks(names: list[str]) -> tuple[str, ...]:
    found = [name.split(".")[1] for name in names if name.startswith("Pulumi.") and name.count(".") == 2]
    return tuple(sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))


def main() -> int:
    """Write what differs, and say so."""
    for name, text in pages().items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name}: written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
