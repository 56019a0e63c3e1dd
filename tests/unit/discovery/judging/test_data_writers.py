"""Who wrote a data volume: what the labels of the stack's own containers and volumes say, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalog import LABEL_STAND_IN
from discovery.judging.data_writers import data_writers
from discovery.request import Checkpoint, Request
from discovery.world import Container, EngineState, Inventory

VOLUME = "promptcraft-dev-qdrant-data"
OURS = "a1" * 32
QDRANT = Container(OURS, "promptcraft-dev-qdrant", "", {LABEL_STAND_IN: "a small store"})
BEFORE = replace(QDRANT, labels={})  # the real one, when it did not yet say so
FILES = replace(QDRANT, id="f5" * 32, name="promptcraft-dev-qdrant-files")
REQUEST = Request(
    Path("/project"), Path("/home"), "dev", "promptcraft-hybrid", {}, checkpoint=Checkpoint(ids=frozenset({OURS}))
)


@pytest.mark.parametrize(
    ("containers", "volume", "expected"),
    [
        ((QDRANT,), {}, "a small store"),
        ((replace(QDRANT, status="exited"),), {}, "a small store"),
        ((replace(QDRANT, labels={LABEL_STAND_IN: "small\nstore"}),), {}, r"small\nstore"),
        ((BEFORE,), {}, ""),
        # The container is the last to have written.
        ((BEFORE,), {LABEL_STAND_IN: "a small store"}, ""),
        ((QDRANT,), {LABEL_STAND_IN: ""}, "a small store"),
        # What a destroyed stack leaves.
        ((), {LABEL_STAND_IN: "a small store"}, "a small store"),
        ((), {LABEL_STAND_IN: ""}, ""),
        ((), {}, None),
        ((FILES,), {}, None),
        ((replace(QDRANT, id="b2" * 32),), {}, None),
        ((QDRANT,), None, None),
    ],
)
def test_the_container_says_who_wrote_the_volume_and_the_volume_once_it_is_gone(
    containers: tuple[Container, ...], volume: dict[str, str] | None, expected: str | None
) -> None:
    volumes = {} if volume is None else {VOLUME: volume}
    writers = data_writers(REQUEST, Inventory(EngineState.ANSWERED, containers, volumes=volumes))
    assert writers == ({} if expected is None else {"qdrant": expected})


def test_without_an_engine_nobody_knows() -> None:
    assert data_writers(REQUEST, Inventory(EngineState.BROKEN)) == {}
