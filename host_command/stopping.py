"""Stop a command and take away what tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from discovery import locks
from discovery.locks import LockHeldError
from host_command import processes
from host_command.command import Command


def stop(command: Command, environ: Mapping[str, str]) -> str:
    """End the command with all its processes; what was done, in one line. Raises `HostCommandError`."""
    with command.held():
        count = processes.end(command, command.read())
        # A lock file that is not ours to remove stays.
        with suppress(LockHeldError):
            locks.release(locks.lock_folder(environ), command.service, command.project, command.stack)
        command.forget()
    return f"{command.service}: {'stopped' if count else 'was not running'}"
