"""A name server that knows nothing, and remembers what it was asked."""

from __future__ import annotations

import socket
import threading


class DnsServer:
    """Answers every question on UDP port 53 of `host` with "no such name". `asked` are the names."""

    def __init__(self, host: str) -> None:
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                question, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            if not question:
                return
            self.asked.append(_name(question[12:]))
            # RFC 1035, 4.1.1: a response with recursion available, and no such name.
            self._socket.sendto(question[:2] + b"\x81\x83" + question[4:6] + bytes(6) + question[12:], peer)

    def close(self) -> None:
        """Stop, and wait until it has stopped."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()


def _name(question: bytes) -> str:
    labels = []
    while question and question[0]:
        length = question[0]
        labels.append(question[1 : 1 + length].decode("ascii", "replace"))
        question = question[1 + length :]
    return ".".join(labels)
