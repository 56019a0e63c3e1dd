"""When Debian's security archive last changed: a part of the name of whatever is built from Debian's packages.

A start that finds everything there waits for nobody: it takes the date that was read last, and has a process of its own
ask for the next start. Only where no date was ever read, whoever builds asks first.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path

from toolchain import apt, progress
from toolchain.failure import SetupError
from toolchain.layout import Layout, locked, write_private

LABEL = "Debian-Security"
EVERY_SECONDS = 24 * 3600.0
TIMEOUT_SECONDS = 10.0
# The date stands in the first lines of a file that lists every index.
_HEAD_BYTES = 4096


@dataclass
class _Known:
    """`asked` is in seconds since 1970; `dates` are by suite, as the archive writes them."""

    asked: float = 0.0
    dates: dict[str, str] = field(default_factory=dict)


def date(layout: Layout, suite: str) -> str:
    """The `Date:` that was read last of `suite`'s security index, or empty where none ever was. Asks nobody."""
    return _read(layout).dates.get(suite, "")


def stamp(layout: Layout, suite: str) -> str:
    """The end of an image's tag: a dash and the date, such as `-20261125T223313`; empty where none is known."""
    try:
        return f"-{parsedate_to_datetime(date(layout, suite)):%Y%m%dT%H%M%S}"
    except (TypeError, ValueError):
        return ""


def ask_first(layout: Layout, suites: frozenset[str]) -> None:
    """Before something is built: learn the date of each suite that has none yet. Without an answer it stays unknown."""
    known = _read(layout)
    if suites - known.dates.keys() and time.time() - known.asked >= EVERY_SECONDS:
        ask(layout, suites, now=time.time())


def ask_meanwhile(layout: Layout, suites: frozenset[str], now: float) -> bool:
    """Have a process of its own ask for the next start, if nobody asked for a day; False where somebody did."""
    if now - _read(layout).asked < EVERY_SECONDS:
        return False
    # Not subprocess: that would have to wait for its child, and this one outlives whoever starts it.
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "toolchain", "ask-security-index", *sorted(suites)],
        os.environ | {"PYTHONPATH": str(layout.root)},
        file_actions=(
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ),
        setsid=True,
    )
    return True


def ask(layout: Layout, suites: frozenset[str], now: float) -> None:
    """Ask the archive that apt is configured for. What can't be read keeps the date it had; nobody asks for a day."""
    with locked(_file(layout).with_suffix(".lock")):
        known = _read(layout)
        known.asked = now
        for suite in sorted(suites):
            if found := _asked(suite):
                known.dates[suite] = found
        write_private(_file(layout), json.dumps(asdict(known), indent=2) + "\n")


def _asked(suite: str) -> str | None:
    try:
        sites = [mirror.site for mirror in apt.mirrors() if mirror.label == LABEL]
    except SetupError:
        return None
    for site in sites:
        url = f"{site.rstrip('/')}/dists/{suite}-security/InRelease"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                head = response.read(_HEAD_BYTES).decode(errors="replace")
        except (OSError, ValueError) as error:
            progress.note(f"{url}: {error}")
            continue
        if found := re.search(r"^Date: (.+)$", head, re.MULTILINE):
            return found[1].strip()
    return None


def _read(layout: Layout) -> _Known:
    try:
        document = json.loads(_file(layout).read_text(encoding="utf-8"))
        return _Known(float(document["asked"]), {str(key): str(value) for key, value in document["dates"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _Known()


def _file(layout: Layout) -> Path:
    return layout.cache / "security-index.json"
