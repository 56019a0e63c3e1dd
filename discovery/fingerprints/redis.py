"""Redis, and what speaks as it does (Valkey, KeyDB): a conversation that a canned `+PONG` cannot hold.

It is asked to echo a word, to refuse a command that does not exist by its name, and to describe itself. Both the echo
and the refusal come from the server's core, so they hold before a login (Redis looks a command up before it asks who
sends it), which is what makes it possible to withhold the password until then (docs/fingerprints.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from discovery.fingerprints.answer import Answer, auth_required, impostor, nonce, read_version, unhealthy, verified
from discovery.fingerprints.resp import Failure, NotRespError, Reply, Simple, command, info_fields, read_replies
from discovery.request import Credential
from discovery.wire import MAX_BODY, GarbledError, Stream, UnreachableError, Wire

_QUESTIONS = 4
# A server answers a pipeline in one go; whoever falls silent in the middle of it (seconds) has no more to say.
_SILENCE = 0.5
# Said instead of an answer, to any command: the service is there, but not for us or not now.
_NOT_SERVING = {
    "LOADING": "Redis is still loading its data",
    "BUSY": "Redis is busy with a script",
    "MASTERDOWN": "Redis is a replica that has lost its master",
    "TRYAGAIN": "Redis asks to try again later",
    "CLUSTERDOWN": "Redis' cluster is down",
}


@dataclass(frozen=True)
class Conversation:
    """What was asked (`word`, the echo; `verb`, no command) and what came back, in the order of `questions`."""

    word: str
    verb: str
    replies: tuple[Reply, ...] = field(default_factory=tuple)

    def questions(self) -> bytes:
        """All of it as one pipeline.

        Redis passes over the empty lines at its end; to a web server they end a request, which it then turns down.
        """
        return command("PING", self.word) + command(self.verb) + command("INFO") + command("ROLE") + b"\r\n\r\n"


def wants_login(conversation: Conversation) -> bool:
    """Whether this is Redis before a login: NOAUTH to what exists, and the missing command refused by its name."""
    echo, refusal = (*conversation.replies, None, None)[:2]
    return isinstance(echo, Failure) and echo.code == "NOAUTH" and _refuses(refusal, conversation.verb)


def judge(conversation: Conversation) -> Answer:
    """The verdict on a conversation: pure, for any replies."""
    first, refusal, info, role = (*conversation.replies, None, None, None, None)[:_QUESTIONS]
    if isinstance(first, Failure):
        return _judge_failure(first)
    if first != conversation.word.encode() or not _refuses(refusal, conversation.verb):
        return impostor("answers, but not as Redis: it cannot echo a word and refuse a command that does not exist")
    if isinstance(info, Failure) and info.code == "NOPERM":
        return auth_required("Redis does not let this user see INFO; give it a login that may")
    fields = info_fields(info) if isinstance(info, bytes) else {}
    version = read_version(fields.get("valkey_version") or fields.get("redis_version"))
    if version is None:
        return impostor("speaks like Redis, but does not describe itself as one")
    name = "Valkey" if "valkey_version" in fields else "Redis"
    if fields.get("redis_mode") == "sentinel":
        return impostor(f"is a {name} Sentinel, which keeps no data")
    if fields.get("loading") == "1":
        return unhealthy(f"{name} {version} is still loading its data", version)
    if fields.get("role", "master") != "master" or _role(role) not in (None, "master"):
        return unhealthy(f"{name} {version} is a replica; a master is needed", version)
    return verified(f"{name} {version}", version)


def _judge_failure(failure: Failure) -> Answer:
    if failure.code == "NOAUTH":
        return auth_required("Redis wants a password; set REDIS_URL=redis://:PASSWORD@HOST:PORT or redisPassword")
    if failure.code == "DENIED":
        return auth_required("Redis is in protected mode: it serves its own loopback only, until it has a password")
    if failure.code == "NOPERM":
        return auth_required("Redis does not let this user PING; give it a login that may")
    if failure.code in _NOT_SERVING:
        return unhealthy(_NOT_SERVING[failure.code])
    if failure.text.startswith("ERR max number of clients"):
        return unhealthy("Redis has no connection left to give")
    return impostor("answers PING with an error that is not Redis'")


def _refuses(reply: Reply, verb: str) -> bool:
    return isinstance(reply, Failure) and reply.text.lower().startswith("err unknown command") and verb in reply.text


def _role(reply: Reply) -> str | None:
    first = reply[0] if isinstance(reply, tuple) and reply else None
    return first.decode("ascii", "replace") if isinstance(first, bytes) else None


async def identify(wire: Wire, credential: Credential | None) -> Answer:
    """Hold the conversation; log in only where Redis has shown itself and wants it, then hold it again."""
    async with wire.connect() as stream:
        first = await _converse(stream)
        if credential is None or credential.secret is None or not _may_log_in(wire, first):
            return judge(first)
        login = (credential.username, credential.secret) if credential.username else (credential.secret,)
        (outcome,) = await _replies(stream, command("AUTH", *login), 1) or (None,)
        if outcome != Simple("OK"):
            return auth_required("Redis refused the configured password; correct redisPassword or REDIS_URL")
        return judge(await _converse(stream))


def _may_log_in(wire: Wire, conversation: Conversation) -> bool:
    # Some servers answer NOAUTH to everything, even to what does not exist; over TLS the certificate vouches for them.
    first = conversation.replies[0] if conversation.replies else None
    return wants_login(conversation) or (wire.place.secure and isinstance(first, Failure) and first.code == "NOAUTH")


async def _converse(stream: Stream) -> Conversation:
    asked = Conversation(word=nonce(), verb=nonce().upper())
    return Conversation(asked.word, asked.verb, await _replies(stream, asked.questions(), _QUESTIONS))


async def _replies(stream: Stream, payload: bytes, count: int) -> tuple[Reply, ...]:
    """The replies to `payload`, fewer than `count` where the peer stopped. Raises `WireError`."""
    await stream.send(payload)
    data = b""
    replies: Sequence[Reply] = ()
    while len(replies) < count and len(data) < MAX_BODY:
        received = await _received(stream, data)
        if not received:
            break
        data += received
        try:
            replies = read_replies(data, count)
        except NotRespError as error:
            raise GarbledError("does not speak Redis' protocol") from error
    return tuple(replies)


async def _received(stream: Stream, before: bytes) -> bytes:
    """More bytes; b"" where the peer ended or fell silent after it had said something. Raises `WireError`."""
    if not before:
        received = await stream.receive()
        if not received:
            raise GarbledError("hangs up on Redis' protocol")
        return received
    try:
        async with asyncio.timeout(_SILENCE):
            return await stream.receive()
    except (UnreachableError, TimeoutError):
        # -DENIED and "max number of clients" are followed by a reset, as our questions were never read.
        return b""
