"""The command that says whether a container is well, run by bash against servers that are and that are not."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from catalog import SERVICES
from tests.answering import answering


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that is taken and that nobody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def is_well(page: int, api: int) -> bool:
    """What the application's check says, with its two ports moved."""
    check = SERVICES["promptcraft"].health_check
    assert check is not None
    kind, *command = check.command
    assert kind == "CMD"
    moved = [part.replace("7860", str(page)).replace("7862", str(api)) for part in command]
    return subprocess.run(moved, capture_output=True, timeout=60, check=False).returncode == 0


def healthy(path: str) -> tuple[int, bytes]:
    return (200, b"{}") if path == "/health" else (404, b"")


def test_both_ports_must_answer(closed: int) -> None:
    with answering(healthy) as page, answering(healthy) as api:
        assert is_well(page, api)
        assert not is_well(page, closed)
        assert not is_well(closed, api)


@pytest.mark.parametrize(("status", "body"), [(503, b"{}"), (503, b"it was 200 OK a moment ago"), (301, b"200 OK")])
def test_any_answer_is_not_enough(status: int, body: bytes) -> None:
    with answering(healthy) as well, answering(lambda _: (status, body)) as unwell:
        assert not is_well(well, unwell)
        assert not is_well(unwell, well)
