"""Images that set-up does not bring for every stack: made when a stack first wants their services."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from catalog import EXPORTERS_IMAGE
from settings import StackSettings

# What set-up brings before any command (`DEFAULT` in toolchain/images.py).
_BROUGHT = ("promptcraft", "redis", "zen-mcp", "qdrant")


def bring_images(root: Path, settings: StackSettings) -> int:
    """Bring the other services' images into the engine; the exit code is set-up's, which also says what was done."""
    wanted = [*settings.wanted, *([EXPORTERS_IMAGE] if "prometheus" in settings.wanted else [])]
    others = [name for name in wanted if name not in _BROUGHT and name not in settings.config.images]
    if not others:
        return 0
    return subprocess.run([sys.executable, "-m", "toolchain", "images", *others], cwd=root, check=False).returncode
