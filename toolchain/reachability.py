"""Which hosts outside answer: asked once, all at the same time, and given up together."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from functools import cached_property

BUDGET_SECONDS = 3.0


class Outside:
    """The hosts that set-up may want to fetch from. Nobody is asked before the first question."""

    def __init__(self, urls: Iterable[str], budget: float = BUDGET_SECONDS) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        self._budget = budget

    def answers(self, url: str) -> bool:
        """Whether `url`, one of those given, answered within the budget that all of them share."""
        return url in self._answering

    def all_answer(self, urls: Iterable[str]) -> bool:
        """Whether every one of `urls` answered."""
        return all(self.answers(url) for url in urls)

    @cached_property
    def _answering(self) -> frozenset[str]:
        return ask(self._urls, self._budget)


def ask(urls: Iterable[str], budget: float) -> frozenset[str]:
    """Those of `urls` that answer within `budget` seconds in total."""
    answering: set[str] = set()

    def one(url: str) -> None:
        if _answers(url, budget):
            answering.add(url)

    # Daemon threads: a name server that never answers can't be interrupted, only left behind.
    threads = [threading.Thread(target=one, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + budget
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return frozenset(answering)


def _answers(url: str, timeout: float) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):
            return True
    except urllib.error.HTTPError as refusal:
        # A registry asks for a token first; any other refusal is a gatekeeper's, not the host's.
        return refusal.code == 401
    except OSError:
        return False
