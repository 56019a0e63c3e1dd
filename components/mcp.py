"""The Zen MCP server."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.plan import AUTHORITIES_FILE


class ZenMcp(ServiceComponent):
    """Zen MCP over HTTP; behind a bearer token where one is configured. Keys to models come as files."""

    TOKEN = "promptcraft:mcp:ZenMcp"

    def setup(self, declared: Declared) -> Setup:
        authorities = declared.plan.authorities
        plain = {AUTHORITIES_FILE: authorities} if authorities else {}
        return Setup(files=Files(plain, declared.secrets) if plain or declared.secrets else None)
