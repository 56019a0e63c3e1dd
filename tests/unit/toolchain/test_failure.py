"""What set-up says when it can't go on: nothing that opens a registry."""

from __future__ import annotations

import pytest

from toolchain.failure import SetupError


@pytest.mark.parametrize(
    "told",
    [
        "error: Failed to fetch: `https://ci:s3cret@python.example.com/simple/x/`\n  Caused by: s",
        "npm ERR! https://s3cret@npm.example.com/x",
        "ERROR: Could not find https://aws:a/s3cret/b@python.example.com/simple",
    ],
)
def test_a_login_in_an_address_is_masked(told: str) -> None:
    shown = str(SetupError(told))
    assert "s3cret" not in shown
    assert "://***@" in shown


def test_an_address_without_a_login_stays() -> None:
    told = "https://npm.example.com/@scope/name and https://example.com, mail me@example.com"
    assert str(SetupError(told)) == told
