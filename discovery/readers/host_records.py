"""Who serves as a command of this host: the record that `host_command/` keeps of each, and whether it still lives.

Shared by who reads and who writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from discovery.config import is_name
from discovery.readers.process_identity import ProcessIdentity
from reading import safe_files
from reading.safe_files import UnsafeFile

MAX_BYTES = 4096
_SUFFIX = ".json"


@dataclass(frozen=True)
class Record:
    """One command that was started: its bridge's process, which `run` of it that is, and where it listens.

    `birth` is as `process_identity` tells it; `token` lets in who asks the bridge from this host.
    """

    pid: int
    birth: str
    run: int
    fingerprint: str
    address: str
    port: int
    token: str = field(repr=False)

    @property
    def lives(self) -> bool:
        return ProcessIdentity(self.pid, self.birth).lives

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def folder_of(root: Path, stack: str) -> Path:
    """Where the records of a stack lie; mode 0700."""
    return root / ".promptcraft" / "host-commands" / stack


def record_path(folder: Path, service: str) -> Path:
    """Where the record of `service` is."""
    return folder / f"{service}{_SUFFIX}"


def read(path: Path) -> Record | None:
    """The record, or None where there is none that can be understood."""
    try:
        data = safe_files.read_file(path, safe_files.Rules(max_bytes=MAX_BYTES, follow=False, private=True))
        document = json.loads(data or b"")
        record = Record(**document)
    except (UnsafeFile, ValueError, TypeError):
        return None
    numbers = (record.pid, record.run, record.port)
    texts = (record.birth, record.fingerprint, record.address, record.token)
    plain = all(type(number) is int for number in numbers) and all(isinstance(text, str) for text in texts)
    return record if plain and record.pid > 1 else None


def living(folder: Path) -> Iterator[tuple[str, Record]]:
    """The services of a stack that are served by a command of this host now."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        service = path.name.removesuffix(_SUFFIX)
        record = read(path) if is_name(service) else None
        if record is not None and record.lives:
            yield service, record
