"""Redis, and what speaks as it does (Valkey, KeyDB, Dragonfly, …): a conversation that a canned `+PONG` cannot hold.

It is asked to echo a word, to refuse a command that does not exist by its name, and to describe itself. Both the echo
and the refusal come from the server's core, so they hold before a login (Redis looks a command up before it asks who
sends it), which is what makes it possible to withhold the password until then (docs/fingerprints.md).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from discovery.fingerprints.answer import Answer, auth_required, impostor, nonce, read_version, unhealthy, verified
from discovery.fingerprints.resp import Failure, NotRespError, Reply, Simple, command, info_fields, read_replies
from discovery.report import Verdict
from discovery.request import Credential
from discovery.wire import MAX_BODY, GarbledError, Stream, UnreachableError, Wire
from reading.text import one_line

_QUESTIONS = 5
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
# Whose version stands in INFO beside the one of Redis that it is compatible with.
_FORKS = {
    "valkey_version": "Valkey",
    "dragonfly_version": "Dragonfly",
    "garnet_version": "Garnet",
    "kvrocks_version": "Kvrocks",
    "upstash_version": "Upstash",
}
_DATABASE = re.compile(r"/([0-9]{1,5})")


@dataclass(frozen=True)
class Conversation:
    """What was asked (`word`, the echo; `verb`, no command) and what came back, in the order of `questions`."""

    word: str
    verb: str
    replies: tuple[Reply, ...] = field(default_factory=tuple)
    database: int = 0

    @property
    def count(self) -> int:
        """How many replies are due."""
        return _QUESTIONS + bool(self.database)

    def questions(self) -> bytes:
        """All of it as one pipeline.

        Redis passes over the empty lines at its end; to a web server they end a request, which it then turns down.
        """
        asked = [("PING", self.word), (self.verb,), ("INFO",), ("ROLE",), ("HELLO", "2")]
        if self.database:
            asked.append(("SELECT", str(self.database)))
        return b"".join(command(*words) for words in asked) + b"\r\n\r\n"


@dataclass(frozen=True)
class Description:
    """What a server says of itself, from wherever it does: managed ones hide one or the other."""

    name: str
    version: str | None
    mode: str
    roles: frozenset[str]

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}" if self.version else f"{self.name}, its version hidden"


def describe(info: Reply, role: Reply, hello: Reply) -> Description:
    """The description in the replies to `INFO`, `ROLE` and `HELLO`, as much of it as there is. Total."""
    fields = info_fields(info) if isinstance(info, bytes) else {}
    greeting = _pairs(hello)
    fork = next((key for key in _FORKS if key in fields), None)
    version = read_version(fields.get(fork or "redis_version", "").removeprefix("df-"))
    # KeyDB is told by what it alone has; its version is the one that it gives for Redis'.
    name = _FORKS[fork] if fork else "KeyDB" if "mvcc_depth" in fields else greeting.get("server", "redis").capitalize()
    return Description(
        name=name if name in (*_FORKS.values(), "KeyDB") else "Redis",
        version=version or read_version(greeting.get("version")),
        mode=fields.get("redis_mode") or greeting.get("mode", ""),
        roles=frozenset(told for told in (fields.get("role"), _first(role), greeting.get("role")) if told),
    )


def wants_login(conversation: Conversation) -> bool:
    """Whether this is Redis before a login: NOAUTH to what exists, and the missing command refused by its name."""
    _, refusal = (*conversation.replies, None, None)[:2]
    return _is_locked(conversation) and _refuses(refusal, conversation.verb)


def _is_locked(conversation: Conversation) -> bool:
    first = conversation.replies[0] if conversation.replies else None
    return isinstance(first, Failure) and first.code == "NOAUTH"


def judge(conversation: Conversation) -> Answer:
    """The verdict on a conversation: pure, for any replies."""
    first, refusal, info, role, hello, chosen = (*conversation.replies, *[None] * 6)[:6]
    if isinstance(first, Failure):
        return _judge_failure(first)
    if first != conversation.word.encode() or not _refuses(refusal, conversation.verb):
        return impostor("answers, but not as Redis: it cannot echo a word and refuse a command that does not exist")
    told = describe(info, role, hello)
    if told.version is None and not (isinstance(info, Failure) and told.roles):
        if isinstance(info, Failure) and info.code == "NOPERM":
            return auth_required("Redis does not let this user see INFO or ROLE; give it a login that may")
        return impostor("speaks like Redis, but does not describe itself as one")
    answer = _judge_description(told, info_fields(info) if isinstance(info, bytes) else {})
    if answer.verdict is Verdict.VERIFIED and conversation.database and chosen != Simple("OK"):
        answer = unhealthy(f"{told.title} has no database {conversation.database}; name another one", told.version)
    return answer if told.name == "Redis" else replace(answer, title=told.name)


def _judge_description(told: Description, fields: Mapping[str, str]) -> Answer:
    if told.mode == "sentinel":
        return impostor(f"is a {told.name} Sentinel, which keeps no data; name the master that it watches")
    if fields.get("loading") == "1":
        return unhealthy(f"{told.title} is still loading its data", told.version)
    if told.mode == "cluster":
        cure = "name one without cluster-enabled"
        return unhealthy(f"{told.title} is a node of a cluster, which sends clients on (MOVED); {cure}", told.version)
    if told.roles - {"master"}:
        master = ":".join(fields[key] for key in ("master_host", "master_port") if key in fields)
        cure = f"name its master, {one_line(master, 60)}" if master else "name its master"
        return unhealthy(f"{told.title} is a replica, which takes no writes; {cure}", told.version)
    return verified(told.title, told.version)


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
    # ERR unknown command 'X', ERR Command is not available: 'X': each says it in its own words, but for the name.
    return isinstance(reply, Failure) and reply.code == "ERR" and verb in reply.text


def _first(reply: Reply) -> str | None:
    return _text(reply[0]) if isinstance(reply, tuple) and reply else None


def _text(reply: Reply) -> str | None:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else None


def _pairs(reply: Reply) -> dict[str, str]:
    """The texts of a map, which RESP2 has as a list of keys and values."""
    texts = [_text(item) for item in reply] if isinstance(reply, tuple) else []
    return {key: value for key, value in zip(texts[::2], texts[1::2], strict=False) if key and value}


async def identify(wire: Wire, credential: Credential | None) -> Answer:
    """Hold the conversation; log in only where Redis has shown itself and wants it, then hold it again."""
    path = _DATABASE.fullmatch(wire.place.path)
    database = int(path[1]) if path else 0
    async with wire.connect() as stream:
        first = await _converse(stream, database)
        if credential is None or credential.secret is None or not _is_locked(first):
            return judge(first)
        if not await _may_log_in(wire, stream, first):
            withheld = "so the configured one is kept back; use rediss://"
            return auth_required(f"wants a password before it shows that it is Redis, {withheld}")
        login = (credential.username, credential.secret) if credential.username else (credential.secret,)
        (outcome,) = await _replies(stream, command("AUTH", *login), 1) or (None,)
        if outcome != Simple("OK"):
            return auth_required("Redis refused the configured password; correct redisPassword or REDIS_URL")
        return judge(await _converse(stream, database))


async def _may_log_in(wire: Wire, stream: Stream, conversation: Conversation) -> bool:
    if wants_login(conversation) or wire.place.secure:
        return True  # over TLS the certificate vouches for it
    # Dragonfly answers NOAUTH even to what does not exist. Then a login that nobody can have must be told apart.
    (refusal,) = await _replies(stream, command("AUTH", nonce()), 1) or (None,)
    return isinstance(refusal, Failure) and refusal.code == "WRONGPASS"


async def _converse(stream: Stream, database: int) -> Conversation:
    asked = Conversation(word=nonce(), verb=nonce().upper(), database=database)
    return replace(asked, replies=await _replies(stream, asked.questions(), asked.count))


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
