"""Redis behind Upstash's REST interface: commands as JSON arrays over https, `{"result": …}` or `{"error": …}`.

Source: Upstash's REST API documentation. Its hosts say nothing before they are given the token, so the token goes only
to where the certificate, or this machine's own loopback, vouches for the configured host.
"""

from __future__ import annotations

import json

from discovery.fingerprints.answer import Answer, auth_required, impostor, nonce, not_the_service, read_object, verified
from discovery.request import Credential
from discovery.wire import Response, Wire
from reading.addresses import is_loopback_host

# How the errors begin with which Redis, and Upstash for it, turns a stranger away.
_TURNED_AWAY = ("WRONGPASS", "NOAUTH", "Unauthorized", "ERR")


def turns_away(response: Response) -> bool:
    """Whether the response is the interface's refusal of a request without a token."""
    error = read_object(response.body).get("error")
    return response.status in (400, 401) and isinstance(error, str) and error.startswith(_TURNED_AWAY)


def echoes(response: Response, word: str) -> bool:
    """Whether the response is the result of `ECHO word`."""
    return response.status == 200 and read_object(response.body) == {"result": word}


async def identify(wire: Wire, credential: Credential | None) -> Answer:
    """Ask for an echo without the token, and with it only after the interface's own refusal."""
    word = nonce()
    anonymous = await _echo(wire, word, None)
    if echoes(anonymous, word):
        return verified("Redis over REST, open to everybody")
    if not turns_away(anonymous):
        return not_the_service(anonymous, "Redis over REST")
    if credential is None or credential.secret is None:
        return auth_required("Redis over REST wants its token; set UPSTASH_REDIS_REST_TOKEN")
    if not (wire.place.secure or is_loopback_host(wire.place.host)):
        return auth_required("Redis over REST wants its token, which is not sent over plain http; use https://")
    word = nonce()
    if echoes(keyed := await _echo(wire, word, credential.secret), word):
        return verified("Redis over REST, with the configured token")
    if keyed.status in (401, 403):
        return auth_required("Redis over REST refused the configured token; correct UPSTASH_REDIS_REST_TOKEN")
    return impostor("took the token, but does not answer as Redis over REST")


async def _echo(wire: Wire, word: str, token: str | None) -> Response:
    headers = [("Content-Type", "application/json"), *([("Authorization", f"Bearer {token}")] if token else [])]
    return await wire.ask("POST", wire.place.path or "/", headers, json.dumps(["ECHO", word]).encode())
