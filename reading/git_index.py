"""What git tracks, from its index file itself: a repository can make git run commands, and a file runs nothing. Pure.

Source: https://git-scm.com/docs/index-format (Documentation/gitformat-index.txt), versions 2, 3 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct(">4sII")
_MODE_AT = 24
_STAT_BYTES = 40
_FOLDER = 0o040000
_EXTENDED = 0x4000
_NAME_LENGTH = 0x0FFF
# SHA-1, SHA-256: the file does not say which; read with the wrong one its entries do not fit.
_HASH_BYTES = (20, 32)


@dataclass(frozen=True)
class Index:
    """What an index says of one path.

    `entries` are those whose name is the path but perhaps for upper and lower case, and folders above it (with a `/`
    at the end) that a sparse checkout keeps as a whole. `shared` is the hash in the name of the file that holds the
    rest of a split index.
    """

    entries: tuple[bytes, ...]
    shared: str | None = None


def read(data: bytes, path: bytes) -> Index | None:
    """What the index with the bytes `data` says of `path` (from the top of the work tree); None where it is none."""
    for size in _HASH_BYTES:
        try:
            return _read(data, path, size)
        except (struct.error, IndexError, _NoIndexError):
            continue
    return None


class _NoIndexError(Exception):
    pass


def _read(data: bytes, path: bytes, hash_bytes: int) -> Index:
    end = len(data) - hash_bytes
    signature, version, count = _HEADER.unpack_from(data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise _NoIndexError
    folded = path.lower()
    found = []
    place, name = _HEADER.size, b""
    for _ in range(count):
        mode, name, place = _entry(data, place, name, version, hash_bytes)
        if place > end:
            raise _NoIndexError
        if name.lower() == folded or (mode == _FOLDER and path.startswith(name)):
            found.append(name)
    shared = None
    for extension, content in _extensions(data, place, end):
        if extension == b"link" and any(content[:hash_bytes]):
            shared = content[:hash_bytes].hex()
    return Index(tuple(found), shared)


def _entry(data: bytes, start: int, before: bytes, version: int, hash_bytes: int) -> tuple[int, bytes, int]:
    """The mode and the name of the entry at `start`, and where the next one is; `before` is the last one's name."""
    (mode,) = struct.unpack_from(">I", data, start + _MODE_AT)
    (flags,) = struct.unpack_from(">H", data, start + _STAT_BYTES + hash_bytes)
    place = start + _STAT_BYTES + hash_bytes + 2
    if flags & _EXTENDED:
        if version == 2:
            raise _NoIndexError
        place += 2
    kept = b""
    if version == 4:
        dropped, place = _number(data, place)
        if dropped > len(before):
            raise _NoIndexError
        kept = before[: len(before) - dropped]
    nul = data.find(b"\0", place)
    name = kept + data[place:nul]
    if nul < 0 or min(len(name), _NAME_LENGTH) != flags & _NAME_LENGTH:
        raise _NoIndexError
    # Entries of the older versions are filled up with one to eight NULs.
    return mode, name, nul + 1 if version == 4 else start + (nul - start + 8) // 8 * 8


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number as git writes offsets: seven bits a byte, and each byte before the last counts one more."""
    value = data[place] & 0x7F
    while data[place] & 0x80:
        place += 1
        value = ((value + 1) << 7) + (data[place] & 0x7F)
        if value > len(data):
            raise _NoIndexError
    return value, place + 1


def _extensions(data: bytes, place: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    while place < end:
        signature, size = struct.unpack_from(">4sI", data, place)
        place += 8
        yield signature, data[place : place + size]
        place += size
    if place != end:
        raise _NoIndexError
