"""Structured logs: one JSON object a line on stdout, with the request and the run it belongs to."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
run_id: ContextVar[str | None] = ContextVar("run_id", default=None)

# Passed as `extra=`; anything else in a record is not written, so that nothing slips in unnoticed.
FIELDS = (
    *("route", "method", "status", "duration_ms", "agent", "model", "server", "tool", "outcome", "decision"),
    *("caller", "kind", "arguments", "bytes_in", "bytes_out", "trace"),
)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, variable in (("request_id", request_id), ("run_id", run_id)):
            if (value := variable.get()) is not None:
                line[name] = value
        line.update({field: getattr(record, field) for field in FIELDS if hasattr(record, field)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: int) -> None:
    """Sends every logger to stdout as JSON. Libraries speak from WARNING on: at DEBUG they print headers."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("gateway").setLevel(level)
    logging.getLogger("uvicorn").setLevel(max(level, logging.INFO))
