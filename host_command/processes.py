"""Ending what was started: the bridge first, in good order, then whatever it has left; never a stranger."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from discovery.readers.host_records import Record
from host_command.command import Command
from host_command.entry import MARK
from host_command.failure import HostCommandError

# Seconds for the bridge to end its requests and its command in good order, for what it leaves, and for what is killed.
BRIDGE_SECONDS = 10.0
REST_SECONDS = 3.0
KILL_SECONDS = 10.0
_PAUSE = 0.1


def end(command: Command, record: Record | None) -> int:
    """End every process of the command; how many there were. Raises `HostCommandError` where one survives."""
    found = marked(command)
    if record is not None and record.lives:
        # Its own session's leader, so the number is the group's as well.
        with suppress(ProcessLookupError):
            os.killpg(record.pid, signal.SIGTERM)
        _until(lambda: not record.lives, BRIDGE_SECONDS)
    for number, seconds in ((signal.SIGTERM, REST_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        for process in marked(command):
            # psutil sends nothing to a process that has another one's number by now.
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _until(lambda: not marked(command), seconds)
    if survivors := marked(command):
        numbers = ", ".join(str(process.pid) for process in survivors)
        raise HostCommandError(f"{command.service}: process {numbers} stays even when killed; see what it waits for")
    return len(found)


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def marked(command: Command) -> list[psutil.Process]:
    """The processes of the command, by the mark in the environment that they inherited; not who is asking."""
    found = []
    asking = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        # Of others' processes the environment can't be read; of one that has ended there is none.
        with suppress(psutil.Error, OSError):
            if process.pid not in asking and process.environ().get(MARK) == str(command.record):
                found.append(process)
    return found
