"""A client that sends requests at a steady rate, whatever the answers take, and remembers how each ended."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# Enough that the rate stays while some of them wait a second for an address where nobody is any more.
_CLIENTS = 100
_TIMEOUT = 30
_CATCHING_UP = 1.2


@dataclass(frozen=True)
class Request:
    """What to send, and under which name to count it."""

    name: str
    path: str
    method: str = "GET"
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Driven:
    """How requests ended: answers by request name and status, and what was no answer. Times as `time.time()`."""

    started: float
    ended: float = 0.0
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return sum(self.answers.values()) + len(self.failures)


def drive(port: int, request: Callable[[int], Request], count: int, rate: float) -> Driven:
    """Send `count` requests to loopback, `rate` a second; what is late is caught up with, at a fifth more."""
    driven = Driven(time.time())
    numbers, lock, pause = itertools.count(), threading.Lock(), threading.Event()
    began = latest = time.monotonic()

    def turn() -> tuple[int, float]:
        """The next request's number and its time. A crowd of late ones would run into the limit on an address."""
        nonlocal latest
        with lock:
            number = next(numbers)
            latest = max(began + number / rate, latest + 1 / (rate * _CATCHING_UP), time.monotonic())
            return number, latest

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
        while (its := turn())[0] < count:
            number, at = its
            pause.wait(max(0.0, at - time.monotonic()))
            one = request(number)
            try:
                connection.request(one.method, one.path, one.body, dict(one.headers))
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with lock:
                    driven.failures.append(f"{one.name}: {error!r}")
            else:
                with lock:
                    driven.answers[one.name, answer.status] += 1
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(_CLIENTS)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    driven.ended = time.time()
    return driven
