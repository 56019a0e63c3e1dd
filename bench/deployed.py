"""A stack that a benchmark deploys for itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project

# Grafana's password and the one token that runs agents.
SECRET = "only-for-the-benchmark"


@contextmanager
def production() -> Iterator[Project]:
    """Production on an engine of its own, both gone afterwards. Raises `RuntimeError` where it can't be deployed."""
    engine = PrivateEngine()
    engine.prepare()
    engine.start()
    try:
        with tempfile.TemporaryDirectory(prefix="promptcraft-bench-") as folder:
            project = Project.create(Path(folder), engine, like="production")
            project.environment.update(GRAFANA_PASSWORD=SECRET, GATEWAY_TOKENS=SECRET)
            up = project.operate("up")
            if up.code != 0:
                raise RuntimeError(f"production could not be deployed:\n{up.text}")
            yield project
    finally:
        engine.close()
