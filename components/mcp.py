"""The Zen MCP server."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup


class ZenMcp(ServiceComponent):
    """Zen MCP over HTTP; behind a bearer token where one is configured."""

    TOKEN = "promptcraft:mcp:ZenMcp"

    def setup(self, declared: Declared) -> Setup:
        token = declared.secrets.get("zen-mcp")
        return Setup(files=Files(secret={"zen-mcp": token}) if token else None)
