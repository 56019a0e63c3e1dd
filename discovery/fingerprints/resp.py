"""Redis' wire format (RESP2), as much of it as a first conversation needs: pure and total.

Source: the Redis serialization protocol specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_DEPTH = 4
MAX_ITEMS = 64
MAX_BULK = 64 * 1024
_CRLF = b"\r\n"


@dataclass(frozen=True)
class Simple:
    """`+OK`"""

    text: str


@dataclass(frozen=True)
class Failure:
    """`-ERR unknown command …`; `code` is its first word."""

    text: str

    @property
    def code(self) -> str:
        return self.text.partition(" ")[0]


Reply = Simple | Failure | int | bytes | None | tuple["Reply", ...]


class NotRespError(ValueError):
    """These bytes are not the beginning of a RESP reply."""


def command(*words: str) -> bytes:
    """A command as a client sends it."""
    parts = [f"*{len(words)}".encode(), _CRLF]
    for word in words:
        data = word.encode()
        parts += [f"${len(data)}".encode(), _CRLF, data, _CRLF]
    return b"".join(parts)


def read_replies(data: bytes, most: int) -> tuple[Reply, ...]:
    """The complete replies at the start of `data`, at most `most`. Raises `NotRespError` where it is something else."""
    replies: list[Reply] = []
    position = 0
    while len(replies) < most and (found := _reply(data, position, 0)) is not None:
        reply, position = found
        replies.append(reply)
    return tuple(replies)


def info_fields(text: bytes) -> dict[str, str]:
    """The `key:value` lines of an `INFO` reply."""
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines() if not line.startswith("#"))
    return {key: value.strip() for key, colon, value in lines if colon}


def _reply(data: bytes, start: int, depth: int) -> tuple[Reply, int] | None:
    end = data.find(_CRLF, start, start + MAX_BULK)
    if end < 0:
        if start < len(data) and (data[start : start + 1] not in b"+-:$*" or len(data) - start >= MAX_BULK):
            raise NotRespError("no reply type")
        return None
    kind, line, after = data[start : start + 1], data[start + 1 : end], end + len(_CRLF)
    match kind:
        case b"+":
            return Simple(line.decode("utf-8", "replace")), after
        case b"-":
            return Failure(line.decode("utf-8", "replace")), after
        case b":":
            return _number(line, 20), after
        case b"$":
            return _bulk(data, _number(line, 6), after)
        case b"*":
            return _array(data, _number(line, 6), after, depth)
        case _:
            raise NotRespError("no reply type")


def _number(line: bytes, digits: int) -> int:
    unsigned = line.removeprefix(b"-")
    if not unsigned.isdigit() or len(unsigned) > digits:
        raise NotRespError("no number")
    return int(line)


def _bulk(data: bytes, length: int, start: int) -> tuple[Reply, int] | None:
    if length == -1:
        return None, start
    if not 0 <= length <= MAX_BULK:
        raise NotRespError("a length out of range")
    end = start + length
    if len(data) < end + len(_CRLF):
        return None
    if data[end : end + len(_CRLF)] != _CRLF:
        raise NotRespError("a string without its end")
    return data[start:end], end + len(_CRLF)


def _array(data: bytes, count: int, start: int, depth: int) -> tuple[Reply, int] | None:
    if count == -1:
        return None, start
    if not 0 <= count <= MAX_ITEMS or depth >= MAX_DEPTH:
        raise NotRespError("a list out of range")
    items: list[Reply] = []
    for _ in range(count):
        found = _reply(data, start, depth + 1)
        if found is None:
            return None
        item, start = found
        items.append(item)
    return tuple(items), start


def failures(replies: Sequence[Reply]) -> tuple[Failure, ...]:
    """The errors among the replies."""
    return tuple(reply for reply in replies if isinstance(reply, Failure))
