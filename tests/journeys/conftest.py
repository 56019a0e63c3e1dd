"""Journeys are long stories on a real engine: `make journeys` runs them, `make test` does not."""

from tests.engine.conftest import deployed, models, new_project, private_engine

__all__ = ["deployed", "models", "new_project", "private_engine"]
