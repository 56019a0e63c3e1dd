"""Log lines as every service of the stack writes them: one JSON object each, of the level that LOG_LEVEL names."""

from __future__ import annotations

import json
import logging
import os

OWN = ("server", "version", "problem", "line")


class JsonLines(logging.Formatter):
    """`{"time", "level", "service", "message"}`, and what is the record's own."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname.lower(), "service": self._service}
        own = {name: record.__dict__[name] for name in OWN if hasattr(record, name)}
        return json.dumps({**line, "message": record.getMessage(), **own})


def log_as(service: str) -> None:
    """Everything that is logged from now on is logged so."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(service))
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO").upper(), handlers=[handler])
