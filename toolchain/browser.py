"""A Chromium for the tests of the gateway's page: one that is here, else Debian's."""

from __future__ import annotations

import shutil

from toolchain import apt, progress
from toolchain.failure import SetupError

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGE = "chromium"


def find() -> str | None:
    """The path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def ensure() -> None:
    """Install Debian's where there is none and that may be done; elsewhere say what goes untested, and go on."""
    if path := find():
        progress.found(f"Chromium ({path})")
        return
    try:
        apt.install([PACKAGE], "a Chromium")
    except SetupError as error:
        progress.note(f"no Chromium, so the page goes untested: {error}")
