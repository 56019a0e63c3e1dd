"""nginx: its `Server` header is anybody's to send, so its own error page or `stub_status` must go with it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from discovery.fingerprints.answer import Answer, impostor, not_the_service, stray, verified
from discovery.request import Credential
from discovery.wire import GarbledError, Response, Wire

_SERVER = re.compile(r"nginx(?:/([0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}))?(?: \([A-Za-z0-9 ]{1,32}\))?")
# The last lines of ngx_http_special_response.c's pages: <hr><center>nginx/1.22.1</center>
_PAGE = re.compile(rb"<hr><center>nginx(?:/[0-9.]{1,16})?(?: \([A-Za-z0-9 ]{1,32}\))?</center>")
_STUB_STATUS = re.compile(
    rb"\AActive connections: [0-9]{1,10} \nserver accepts handled requests\n [0-9 ]{5,64}\n"
    rb"Reading: [0-9]{1,10} Writing: [0-9]{1,10} Waiting: [0-9]{1,10} \n?\Z"
)


def server_of(response: Response) -> tuple[bool, str | None]:
    """Whether the `Server` header is nginx's, and the version it gives."""
    match = _SERVER.fullmatch(response.header("server"))
    return match is not None, match[1] if match else None


def is_error_page(response: Response) -> bool:
    """Whether the response is an error page that nginx itself wrote."""
    return response.status >= 400 and _PAGE.search(response.body) is not None


def is_stub_status(response: Response) -> bool:
    """Whether the response is the page of nginx's `stub_status`."""
    return response.status == 200 and _STUB_STATUS.match(response.body) is not None


async def identify(wire: Wire, _credential: Credential | None) -> Answer:
    """Look for nginx's name, then for a page that only nginx writes.

    TRACE is refused by nginx's core before any location is looked at, so it shows the page even on a proxy.
    """
    pages = ("/nginx_status", "/stub_status")
    async with wire.foreseeing(*pages):
        return await _identify(wire, pages)


async def _identify(wire: Wire, pages: Sequence[str]) -> Answer:
    first = await wire.ask("GET", stray(""))
    named, version = server_of(first)
    if not named:
        return not_the_service(first, "nginx")
    proved = is_error_page(first)
    for method, path in (("TRACE", "/"), *(("GET", page) for page in pages)):
        if proved:
            break
        try:
            page = await wire.ask(method, path)
        except GarbledError:
            continue
        proved = is_error_page(page) or is_stub_status(page)
    if not proved:
        return impostor("calls itself nginx, but has none of its pages")
    return verified(f"nginx {version}" if version else "nginx, its version hidden", version)
