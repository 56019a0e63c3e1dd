"""What the last deployment said is read as it was written, by this program or by one from before."""

from __future__ import annotations

import pytest

from discovery.report import Remembered

TAKEN = Remembered(
    "docker_service",
    "http://q:6333",
    "container q: proved to be Qdrant",
    version="1.17.0",
    holds=("one, two", "three"),
    evidence="container q",
)


@pytest.mark.parametrize(
    "remembered",
    [
        TAKEN,
        Remembered("external_deployment", "http://r:1", "r: proved to be Redis", behind="127.0.0.1:6379", evidence="r"),
        Remembered("deployed", "redis://redis:6379", "no usable candidate elsewhere: run by this stack"),
        Remembered("omitted", None, "not part of this stack"),
    ],
)
def test_what_is_written_is_read_again(remembered: Remembered) -> None:
    assert Remembered.from_texts(remembered.to_texts()) == remembered


def test_the_output_of_a_deployment_from_before_is_read_too() -> None:
    texts = TAKEN.to_texts() | {"holds": "one, three"}
    del texts["evidence"]
    before = Remembered.from_texts(texts)
    assert (before.evidence, before.holds) == ("container q", ("one", "three"))


def test_a_reason_that_proves_nothing_is_no_evidence() -> None:
    assert Remembered.from_texts({"source": "deployed", "reason": "run by this stack"}).evidence is None
