"""`python -m discovery approve NAME`: the operator's word for what the project's files name as NAME, as it stands now.

It is kept outside of the project (`approval_records.py`) and holds until the entry changes. Exits 0 when it is
approved, 2 where there is nothing that could be.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog import PROJECT
from discovery.approval import Approval, Approver, Entry
from discovery.probes.npx import npx
from discovery.probes.project_files import project_files
from discovery.readers import approval_records
from discovery.readers.server_names import service_name
from discovery.request import Request
from errors import ConfigError
from reading.text import one_line


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        for line in approve(options.root.resolve(), options.name):
            sys.stdout.write(f"{line}\n")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def approve(root: Path, name: str) -> list[str]:
    """Approve every entry of that name, and say what that allows. Raises `ConfigError`."""
    entries = entries_of(root)
    wanted = [entry for entry in entries if name in (entry.service, entry.name)]
    wanted = wanted or [entry for entry in entries if entry.service == service_name(name)]
    if not wanted:
        known = ", ".join(sorted({entry.service for entry in entries})) or "none"
        raise ConfigError(
            f"command line:1: approve: the project's files name nothing to approve as {one_line(name, 60)}; "
            f"what can be approved: {known}"
        )
    path = approval_records.path_of(os.environ, Path.home())
    approval_records.add(path, root, [Approval(each.service, each.evidence, each.fingerprint) for each in wanted])
    return [f"approved {one_line(entry.evidence)}: it may {entry.described}" for entry in wanted]


def entries_of(root: Path) -> tuple[Entry, ...]:
    """Every entry of the project's files that could be approved. Raises `ConfigError`."""
    # What an entry would do does not depend on the environment, nor on the stack.
    request = Request(
        root=root,
        home=Path.home(),
        stack="",
        project=PROJECT,
        environment={},
        approver=Approver(project=str(root)),
    )
    return (*project_files(request).entries, *npx(request).entries)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m discovery approve", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", metavar="NAME", help="the server, as the table or the file calls it")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    return parser
