"""What this stack's own gateway says of its servers' tools. It is asked on this host, at a container that is ours."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from discovery.readers.tool_pins import file_of
from discovery.report import Ownership, Report, Verdict
from reading.addresses import is_loopback_host
from reading.text import one_line

COMMAND = "python -m discovery accept"
TOOLS = "/api/mcp/tools"
SECONDS = 3.0
MAX_BYTES = 64 * 1024 * 1024
_GATEWAY = "promptcraft"


class GatewayError(Exception):
    """The gateway did not answer as it should; the text is one line. `status` is HTTP's, None where there was none."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class ToolState:
    """A server's tools as the gateway judged them. `changed` are those that are not as accepted, `withheld` those of
    them that are not served; `is_pinned`: they were held against `pins/`, and not against what was seen first."""

    server: str
    is_pinned: bool
    changed: int
    withheld: int


def address_of(report: Report) -> str | None:
    """Where this host reaches the stack's own gateway; None where it runs none. A label alone makes no container ours.

    What is shown a token has to be ours by the stack's own state.
    """
    service = report.services.get(_GATEWAY)
    for finding in service.findings if service is not None else ():
        endpoint = finding.candidate.endpoint
        is_ours = finding.ownership is Ownership.OURS and finding.verdict is Verdict.OWNED
        if is_ours and is_loopback_host(urlsplit(endpoint).hostname or ""):
            return endpoint
    return None


def ask(address: str, path: str, tokens: Sequence[str], seconds: float = SECONDS) -> Any:
    """What the gateway answers, asked with one token after the other until one is let in. Raises `GatewayError`."""
    problem = GatewayError("did not answer")
    for token in tokens or ("",):
        try:
            return _ask(address, path, token, seconds)
        except GatewayError as error:
            problem = error
            if error.status not in (401, 403):
                break
    raise problem


def states(document: object) -> list[ToolState]:
    """The servers whose tools are known in what `TOOLS` answers. Raises `GatewayError`."""
    try:
        servers = document["servers"]  # type: ignore[index]
        return [_state(server) for server in servers if server["accepted_by"] is not None]
    except (KeyError, TypeError, AttributeError) as error:
        raise GatewayError("answers what no gateway of this version says") from error


def notices(found: Iterable[ToolState]) -> tuple[str, ...]:
    """One line for each server with a tool that is not as it was accepted; nothing in it is the server's own word."""
    return tuple(_notice(state) for state in found if state.changed)


def notices_now(report: Report, tokens: Sequence[str]) -> tuple[str, ...]:
    """The notices of the gateway that runs; none where there is none, or it does not say in time."""
    address = address_of(report)
    if address is None:
        return ()
    try:
        return notices(states(ask(address, TOOLS, tokens)))
    except GatewayError:
        # It may be the one that is about to be replaced, or one of before.
        return ()


def _notice(state: ToolState) -> str:
    tools = f"{state.changed} tool{'s' if state.changed > 1 else ''} changed"
    since = f"since {file_of(state.server)}" if state.is_pinned else "since they were seen first"
    blocked = f", {state.withheld} blocked" if state.withheld else ""
    return f"{state.server}: {tools} {since}{blocked}: {COMMAND} {state.server}"


def _state(server: Mapping[str, Any]) -> ToolState:
    kinds = [str(tool["kind"]) for tool in server["tools"]]
    return ToolState(
        server=one_line(str(server["name"]), 60),
        is_pinned=server["accepted_by"] == "pin",
        changed=sum(kind in ("reworded", "blocked", "new", "gone") for kind in kinds),
        withheld=sum(kind in ("blocked", "new") for kind in kinds),
    )


def _ask(address: str, path: str, token: str, seconds: float) -> Any:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise GatewayError(f"answers more than {MAX_BYTES // 2**20} MiB")
        document = json.loads(body)
    except (OSError, ValueError, http.client.HTTPException, RecursionError) as error:
        raise GatewayError(f"does not answer: {one_line(str(error)) or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        told = document.get("error") if isinstance(document, dict) else None
        message = told.get("message") if isinstance(told, dict) else None
        raise GatewayError(f"answers {response.status}: {one_line(str(message), 120)}", response.status)
    return document
