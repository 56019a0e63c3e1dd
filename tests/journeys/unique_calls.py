"""An MCP server that remembers each call by a word that only that call has."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

from tests.scenarios.sdk_servers import SdkServer


class UniqueCalls:
    """`counted` says how often each word came. Whoever reads it meanwhile is told what has come so far."""

    def __init__(self, host: str) -> None:
        self.counted: Counter[str] = Counter()
        self._lock = threading.Lock()

        async def count(word: str, seconds: float = 0.0) -> str:
            """Counts a word, and says it after some seconds."""
            with self._lock:
                self.counted[word] += 1
            await asyncio.sleep(seconds)
            return f"counted {word}"

        self.server = SdkServer("counter", 0, host=host, tools=(count,))
