"""`.env` files: what is read, and what is refused without repeating what may be a secret."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import ConfigError
from reading.env_file import parse
from tests.unit.asking import EXAMPLES


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("A = spaced ", "spaced"),
        ("A='single # kept'", "single # kept"),
        ('A="double" # comment', "double"),
        ("A=plain # comment", "plain"),
        ("A=url#fragment", "url#fragment"),
        ("A=", ""),
        ("A=$HOME", "$HOME"),
    ],
)
def test_a_line_is_read_as_written(line: str, value: str) -> None:
    assert parse(line, ".env")["A"].value == value


@pytest.mark.parametrize("line", ["just words", "1A=x", "A='open", 'A="open', "=x", "A-B=1"])
def test_a_bad_line_is_named_but_not_repeated(line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(f"OK=1\n{line}", ".env")
    assert str(raised.value).startswith(".env:2: ")
    assert line not in str(raised.value)


def test_a_later_line_wins_and_keeps_its_number() -> None:
    variable = parse("A=1\n\nA=2\n", ".env")["A"]
    assert (variable.value, variable.line) == ("2", 3)


@settings(max_examples=EXAMPLES)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        variables = parse(text, ".env")
    except ConfigError as error:
        assert all(line.startswith(".env:") for line in str(error).split("\n"))
    else:
        assert all(isinstance(variable.value, str) for variable in variables.values())
