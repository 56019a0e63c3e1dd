"""Images that set-up does not bring for every stack: made when a stack first wants their services.

Which relays a stack needs is known after the look only, which is too late to build their image: a quick look of its
own comes before the first deployment that might need one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from catalog import EXPORTERS_IMAGE
from discovery import deploy_look
from discovery.report import Vantage
from settings import StackSettings

# What set-up brings before any command (`DEFAULT` in toolchain/images.py).
_BROUGHT = ("promptcraft", "redis", "zen-mcp", "qdrant")


def bring_images(root: Path, settings: StackSettings) -> int:
    """Bring the other services' images into the engine; the exit code is set-up's, which also says what was done."""
    relays = ["nginx"] if _wants_relay(root, settings) else []
    exporters = [EXPORTERS_IMAGE] if "prometheus" in settings.wanted else []
    wanted = [*settings.wanted, *relays, *exporters]
    others = [name for name in wanted if name not in _BROUGHT and name not in settings.config.images]
    if not others:
        return 0
    return subprocess.run([sys.executable, "-m", "toolchain", "images", *others], cwd=root, check=False).returncode


def _wants_relay(root: Path, settings: StackSettings) -> bool:
    """Whether something that the stack may use serves on this host's loopback. Raises `ConfigError`."""
    if "nginx" in settings.wanted:
        return False
    services = deploy_look.take(root, settings).report.services
    wanted = (services[name].selected for name in settings.wanted if name in services)
    return any(found is not None and found.reach.vantage is Vantage.HOST_LOOPBACK for found in wanted)
