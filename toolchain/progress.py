"""Say on stderr what is being done and how long it took; stdout belongs to `toolchain env`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# A build may be silent for minutes; a line now and then shows that it lives.
HEARTBEAT_SECONDS = 20.0

_writing = threading.Lock()
_quiet = False


def be_quiet() -> None:
    """From now on leave out what needed nothing; work and warnings are still shown."""
    global _quiet
    _quiet = True


def _write(line: str) -> None:
    with _writing:
        print(line, file=sys.stderr, flush=True)


def found(text: str) -> None:
    """A part that is already there."""
    if not _quiet:
        _write(f"  = {text}")


def note(text: str) -> None:
    """Something worth knowing that is not a step."""
    _write(f"  ! {text}")


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce `text`, keep showing that it goes on, and end with the time it took, or that it failed."""
    started = time.monotonic()
    ended = threading.Event()
    _write(f"  > {text} …")

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            _write(f"    … {text}: {time.monotonic() - started:.0f} s")

    threading.Thread(target=beat, daemon=True).start()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        ended.set()
        mark = "+" if outcome == "done" else "x"
        _write(f"  {mark} {text}: {outcome} in {time.monotonic() - started:.1f} s")
