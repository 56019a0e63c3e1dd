"""A command in the foreground that ends in good order, however whoever waits for it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

from discovery.readers.process_identity import ProcessIdentity, identity

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


class Interrupted(BaseException):
    """A signal asked this command to end; `number` is which. No `Exception`: nothing but the end is to be done."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number


def end_in_good_order() -> None:
    """From now on a signal raises `Interrupted`; and when `make` is killed, this process is asked to end as well."""
    for number in _SIGNALS:
        # What was ignored from the start (nohup) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if _make() is not None:
        _end_with_the_parent(signal.SIGTERM)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # What is cleaned up now must not be interrupted again.
    for ignored in _SIGNALS:
        signal.signal(ignored, signal.SIG_IGN)
    raise Interrupted(number)


def who_asked() -> ProcessIdentity:
    """The process whose end is the command's end: `make` where it started this one, else this one."""
    this = _make() or identity(os.getpid())
    assert this is not None, "this process lives"
    return this


def _make() -> ProcessIdentity | None:
    """The `make` that started this process, by itself or by a shell."""
    try:
        near = psutil.Process().parents()[:2]
        return next((identity(process.pid) for process in near if process.name() in ("make", "gmake")), None)
    except psutil.Error:
        return None


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], inherited: int | None) -> int:
    """Run `command` to its end; its exit code, negative where a signal killed it. Raises `Interrupted` once it ended.

    It has a session of its own: a terminal's Ctrl-C reaches this process alone, which passes it on once as SIGINT
    (pulumi then finishes what it has begun and starts nothing more), and a second one if the person insists.
    """
    # A signal that comes before the loop is entered waits for it: else the child would go on alone.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        start_new_session=True,
        pass_fds=() if inherited is None else (inherited,),
        preexec_fn=_in_the_child,
    )
    interrupted: Interrupted | None = None
    while True:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = process.wait()
            break
        except Interrupted as interruption:
            if interrupted is None:
                sys.stderr.write("stopping: pulumi finishes what it has begun …\n")
            interrupted = interrupted or interruption
            process.send_signal(signal.SIGINT)
            signal.signal(signal.SIGINT, _interrupt)
    if interrupted is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise interrupted
    return code


def _in_the_child() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _end_with_the_parent(signal.SIGINT)


def _end_with_the_parent(number: signal.Signals) -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))


_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
