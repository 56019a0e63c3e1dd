"""The runner: MCP servers that speak stdio, started from packages in one container, HTTP before them."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.plan import CERTIFICATES_FILE


class Runner(ServiceComponent):
    """How each server is started comes as a file that `images/runner/hosted.py` reads: secret, for it holds keys."""

    TOKEN = "promptcraft:runner:Runner"

    def setup(self, declared: Declared) -> Setup:
        contents = declared.contents
        return Setup(
            Files(
                plain={CERTIFICATES_FILE: contents.certificates} if contents.certificates else {},
                secret={
                    f"server-{name}.json": contents.launches[name, server.key]
                    for name, server in declared.plan.in_runner.items()
                },
            )
        )
