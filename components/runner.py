"""The runner: MCP servers that speak stdio, started from packages in one container, HTTP before them."""

from __future__ import annotations

import json

from catalog import STDIO
from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.contents import SecretText
from planning.plan import CERTIFICATES_FILE, InRunner


class Runner(ServiceComponent):
    """How each server is started comes as a file that `images/runner/hosted.py` reads: secret, for it holds keys."""

    TOKEN = "promptcraft:runner:Runner"

    def setup(self, declared: Declared) -> Setup:
        contents = declared.contents
        return Setup(
            Files(
                plain={CERTIFICATES_FILE: contents.certificates} if contents.certificates else {},
                secret={
                    f"server-{name}.json": _connecting(server) or contents.launches[name, server.key]
                    for name, server in declared.plan.in_runner.items()
                },
            )
        )


def _connecting(server: InRunner) -> SecretText | None:
    """How the runner reaches a server in a container of its own, of which it is told nothing secret."""
    if server.container is None:
        return None
    document = {
        "program": server.program,
        "package": server.package,
        "address": [server.container.service, STDIO.port],
    }
    return SecretText(json.dumps(document, indent=2, sort_keys=True) + "\n")
