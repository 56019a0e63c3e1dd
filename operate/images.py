"""Images that set-up does not bring for every stack: made when a stack first wants their services.

Whether a stack needs relays or a runner is known after the look only, which is too late to build their images: a quick
look of its own comes before the deployment.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from catalog import EGRESS, EXPORTERS_IMAGE, FINDABLE, RUNNER, SERVICES
from discovery import deploy_look
from discovery.report import ServiceReport, Vantage
from settings import StackSettings


def bring_images(root: Path, settings: StackSettings) -> int:
    """Bring the other services' images into the engine; the exit code is set-up's, which also says what was done."""
    look = deploy_look.take(root, settings)
    services, wanted = look.report.services, (*settings.wanted, *settings.config.mcp_servers, *look.config.servers)
    exporters = [EXPORTERS_IMAGE] if "prometheus" in settings.wanted else []
    named = dict.fromkeys((*settings.declarable, *exporters, *_for_what_was_found(services, wanted, settings)))
    brought = {service.name for service in SERVICES.values() if service.brought_by_setup}
    others = [name for name in named if name not in brought and name not in settings.config.images]
    if not others:
        return 0
    return subprocess.run([sys.executable, "-m", "toolchain", "images", *others], cwd=root, check=False).returncode


def _for_what_was_found(
    services: Mapping[str, ServiceReport], wanted: Iterable[str], settings: StackSettings
) -> Iterator[str]:
    """The image of relays, where something that the stack may use serves on this host's loopback; those of
    the runner and its way out."""
    selected = (services[name].selected for name in wanted if name in services)
    if any(found is not None and found.reach.vantage is Vantage.HOST_LOOPBACK for found in selected):
        yield "nginx"
    others = (finding for name, service in services.items() if name not in FINDABLE for finding in service.findings)
    launches = [finding.candidate.launch for finding in others if finding.candidate.launch]
    if settings.config.runner and launches:
        yield from (RUNNER.name, EGRESS.name)
