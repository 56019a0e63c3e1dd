"""What asking "who are you?" comes to, and the small readers that every protocol shares: pure and total."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from discovery.report import Verdict
from discovery.request import Credential
from discovery.wire import Response, Wire
from reading.safe_files import size
from reading.text import one_line, shown

# 4.5.1, 10.4.2-ubuntu, v1.12.0, 2.42.0+ds: digits and dots, then whatever a packager adds.
_VERSION = re.compile(r"v?[0-9]{1,9}(?:\.[0-9]{1,9}){1,3}[0-9A-Za-z.+~_-]{0,40}")
_BUSY = (502, 503, 504)
_MISDIRECTED = 421  # RFC 9110, 15.5.20
# How servers turn a Host down that they were not told of: the SDKs of MCP, Vite, Django, webpack.
_NAME_REFUSED = re.compile(
    rb"\b(?:invalid|disallowed|blocked|unknown|bad|unrecogni[sz]ed) host\b"
    rb"|\bhost\b[^<\n]{0,120}\b(?:not allowed|not permitted|invalid|denied)\b",
    re.IGNORECASE,
)
_PLAIN_TO_TLS = re.compile(rb"HTTP request (?:was sent )?to (?:an )?HTTPS (?:server|port)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """The verdict on one endpoint. `identity` is the name an MCP server gives itself, as it gave it.

    `holds` names what is there, None where that is not known; `path` is where an MCP server answered; `title` is what
    the program is called, where several speak the protocol.
    """

    verdict: Verdict
    reason: str
    version: str | None = None
    identity: str | None = None
    holds: tuple[str, ...] | None = None
    path: str | None = None
    title: str | None = None


Fingerprint = Callable[[Wire, Credential | None], Awaitable[Answer]]


def verified(
    reason: str, version: str | None = None, identity: str | None = None, holds: tuple[str, ...] | None = None
) -> Answer:
    """Proved, healthy and usable."""
    return Answer(Verdict.VERIFIED, reason, version, identity, holds)


def impostor(reason: str) -> Answer:
    """Somebody else lives there."""
    return Answer(Verdict.IMPOSTOR, reason)


def unhealthy(reason: str, version: str | None = None) -> Answer:
    """Proved, or in front of what was asked for, but not serving."""
    return Answer(Verdict.UNHEALTHY, reason, version)


def auth_required(reason: str, version: str | None = None) -> Answer:
    """It wants a credential that we lack, or that it refused."""
    return Answer(Verdict.AUTH_REQUIRED, reason, version)


def not_the_service(response: Response, title: str) -> Answer:
    """The verdict on a first response that lacks the service's own mark."""
    if 300 <= response.status < 400:
        return impostor(f"answers with a redirect{_target(response)}, which is never followed; name what is meant")
    if refuses_the_name(response):
        return unhealthy(f"answers {response.status}: it does not serve under this name; let it take the name")
    if response.status == 400 and _PLAIN_TO_TLS.search(response.body):
        return unhealthy("answers over TLS only; name it as https://")
    if response.status in (401, 403):
        return auth_required(f"answers {response.status} before it says who it is")
    if response.status in _BUSY:
        return unhealthy(f"answers {response.status}")
    cut = f" (read to {size(len(response.body))})" if response.is_cut else ""
    return impostor(f"answers {response.status} over HTTP, but not as {title}{cut}")


def refuses_the_name(response: Response) -> bool:
    """Whether the server does not serve the Host that it was asked by."""
    if response.status == _MISDIRECTED:
        return True
    return response.status in (400, 403) and _NAME_REFUSED.search(response.body[:4096]) is not None


def _target(response: Response) -> str:
    target = response.header("location")
    return f" ({response.status})" + (f" to {shown(target, 70)}" if target else "")


def read_json(body: bytes) -> Any:
    """`body` as JSON, or None where it is none (too deep and too long numbers included)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def read_object(body: bytes) -> dict[str, Any]:
    """`body` as a JSON object, or an empty one."""
    document = read_json(body)
    return document if isinstance(document, dict) else {}


def read_version(value: object) -> str | None:
    """`value` where it has the form of a version, else None."""
    return value if isinstance(value, str) and len(value) <= 64 and _VERSION.fullmatch(value) else None


def quoted(value: object, limit: int = 60) -> str:
    """Text from the world inside a reason: escaped, cut, in quotes."""
    return f"'{one_line(str(value), limit)}'"


def nonce() -> str:
    """A word nobody can have prepared an answer for."""
    return f"promptcraft-{secrets.token_hex(8)}"


def stray(base: str) -> str:
    """A path below `base` that cannot exist."""
    return f"{base}/{nonce()}"


async def answers_everything(wire: Wire, stray_path: str, told: Response) -> bool:
    """Whether a `stray` path gets the same answer as the one that named the service.

    A server that says the same to everybody has proved nothing.
    """
    response = await wire.ask("GET", stray_path)
    return response.status == told.status and response.body == told.body
