"""Wait for a condition, not for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PAUSE = 0.05


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Return once `condition` holds. Raises `TimeoutError` after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not hold within {seconds} s")
        pause.wait(_PAUSE)
