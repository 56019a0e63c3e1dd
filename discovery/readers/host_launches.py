"""Servers that speak stdio by a command of the user's own, as this host could start them (`allowHostCommands`).

Nothing is started here: `host_command/` does that when the stack is deployed, from the same file, read once more. What
the plan knows of a command is a fingerprint. It is keyed with a secret of this checkout, so that nobody can guess from
it the password that a variable or an argument may hold.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from discovery.readers import expansion, host_records
from discovery.readers.commands import LaunchError, variables_of, words_of
from discovery.report import Candidate, HostLaunch
from discovery.request import Request

_KEY_BYTES = 32
_FINGERPRINT_DIGITS = 16


def launch_of(server: Mapping[str, object], environment: Mapping[str, str]) -> HostLaunch:
    """How Claude Code would start `server`, an entry of an `mcpServers` document. Raises `LaunchError`."""
    command, *words = words_of(server)
    try:
        return HostLaunch(
            command=expansion.expand(command, environment),
            arguments=tuple(expansion.expand(word, environment) for word in words),
            environment={name: expansion.expand(text, environment) for name, text in variables_of(server).items()},
        )
    except expansion.ExpansionError as error:
        raise LaunchError(f"its command {error}") from error


def sealed(candidate: Candidate, request: Request) -> Candidate:
    """The candidate with its launch's fingerprint and run, or with a problem where the one can't be had."""
    launch = candidate.launch
    if not isinstance(launch, HostLaunch):
        return candidate
    try:
        fingerprint = _fingerprint(launch, request.root)
    except OSError as error:
        problem = f"a command of this host, but .promptcraft/host-commands/key cannot be used ({error.strerror})"
        return replace(candidate, problem=problem, launch=None)
    run, ended = _run(candidate.service, request)
    return replace(candidate, launch=replace(launch, fingerprint=fingerprint, run=run, ended=ended))


def _run(service: str, request: Request) -> tuple[int, str]:
    """Which run the next deployment wants: the one that lives, or the one after the last; and why that has ended."""
    record = host_records.read(host_records.record_path(host_records.folder_of(request.root, request.stack), service))
    if record is not None and record.lives:
        return record.run, ""
    deployed = request.checkpoint.host_runs.get(service, 0)
    last = max(deployed, record.run if record else 0)
    if not deployed:
        return last + 1, ""
    return last + 1, f"process {record.pid} has ended" if record else "its record is gone"


def _fingerprint(launch: HostLaunch, root: Path) -> str:
    """Of the command and of the bridge before it, so that a new version of either is started."""
    text = json.dumps([launch.command, launch.arguments, sorted(launch.environment.items())])
    bridge = (path.read_bytes() for path in sorted((root / "host_command" / "bridge").glob("*.*")))
    seal = hmac.new(_key(root), text.encode(), hashlib.sha256)
    for content in bridge:
        seal.update(b"\0" + content)
    return seal.hexdigest()[:_FINGERPRINT_DIGITS]


def _key(root: Path) -> bytes:
    """This checkout's secret, made at the first use. Raises `OSError`."""
    path = root / ".promptcraft" / "host-commands" / "key"
    with suppress(FileNotFoundError):
        return _whole(path)
    for folder in (root / ".promptcraft", path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f"key.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        # Of two looks that make one at the same time, the first counts for both.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return _whole(path)


def _whole(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(0, f"is damaged: {len(key)} bytes; remove it")
    return key
