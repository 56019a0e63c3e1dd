"""What tells a client of which authorization server to get a token (RFC 9728)."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.plan import OAuth

WELL_KNOWN = "/.well-known/"
_METADATA = f"{WELL_KNOWN}oauth-protected-resource"
_MCP = "/mcp"
_AUTHORITY = re.compile(r"[A-Za-z0-9._\[\]:-]{1,260}")


class ProtectedResource(BaseModel):
    """The metadata of one resource; `resource` is its address as the client knows it."""

    resource: str
    authorization_servers: list[str]
    scopes_supported: list[str]
    bearer_methods_supported: list[str] = ["header"]
    resource_name: str = "PromptCraft"


def metadata_routes(oauth: OAuth) -> APIRouter:
    """The metadata of this server, and of its MCP endpoints."""
    router = APIRouter()

    async def metadata(request: Request) -> ProtectedResource:
        resource = origin(request.scope) + request.scope["path"].removeprefix(_METADATA)
        return ProtectedResource(
            resource=resource, authorization_servers=[oauth.issuer], scopes_supported=list(oauth.scopes)
        )

    for path in (_METADATA, f"{_METADATA}{_MCP}", f"{_METADATA}{_MCP}/{{server}}"):
        router.add_api_route(path, metadata, include_in_schema=False)
    return router


def challenge(scope: Scope, oauth: OAuth | None, error: str | None, description: str) -> str:
    """The value of `WWW-Authenticate` for a request that is refused (RFC 6750, 3; RFC 9728, 5.1)."""
    if oauth is None:
        return "Bearer"
    path = scope["path"]
    at_mcp = path == _MCP or path.startswith(f"{_MCP}/")
    given = {
        "error": error,
        "error_description": description if error else None,
        "scope": " ".join(oauth.scopes),
        "resource_metadata": f"{origin(scope)}{_METADATA}{path if at_mcp and _is_plain(path) else ''}",
    }
    return "Bearer " + ", ".join(f'{name}="{_quotable(value)}"' for name, value in given.items() if value)


def origin(scope: Scope) -> str:
    """This server's address as who asks knows it: nginx hands on the name and says whether it was asked by TLS."""
    headers = Headers(scope=scope)
    told = headers.get("x-forwarded-proto", "")
    host = headers.get("host", "")
    scheme = told if told in ("http", "https") else scope.get("scheme", "http")
    return f"{scheme}://{host}" if _AUTHORITY.fullmatch(host) else f"{scheme}://localhost"


def _is_plain(path: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9/_-]+", path) is not None


def _quotable(text: str) -> str:
    # RFC 6750, 3: a description has neither quotes nor backslashes.
    return re.sub(r'[^\x20-\x7e]|["\\]', "'", text)
