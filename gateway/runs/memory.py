"""How much memory this process has."""

from __future__ import annotations

import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_mib() -> float:
    # size resident shared text lib data dt, in pages
    return int(_STATM.read_text().split()[1]) * _PAGE_BYTES / 2**20
