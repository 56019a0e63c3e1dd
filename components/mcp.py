"""The Zen MCP server."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup


class ZenMcp(ServiceComponent):
    """Zen MCP over HTTP; behind a bearer token where one is configured. Keys to models come as files."""

    TOKEN = "promptcraft:mcp:ZenMcp"

    def setup(self, declared: Declared) -> Setup:
        return Setup(files=Files(secret=declared.secrets) if declared.secrets else None)
