"""What a JSON text would make, told before it is parsed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.json_bounds import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, extent

MEGABYTE = 1024 * 1024


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[" + b",".join([b"[]"] * 349_525) + b"]", "values"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "deep"),
        (nested(MAX_DEPTH + 1), "deep"),
        (nested(400), "deep"),
        (b"[" * MEGABYTE, "values"),
        (b"[" + b"]" * MEGABYTE + nested(400), None),
        (nested(MAX_DEPTH), None),
        (json.dumps(list(range(MAX_VALUES - 1))).encode(), None),
        (json.dumps(list(range(MAX_VALUES))).encode(), "values"),
        # What stands in a string is text: a program, a table, a quote in it, a backslash at its end.
        (json.dumps({"input": "[{,}]" * 40_000}).encode(), None),
        (json.dumps({"input": '\\" [[[[' * 20_000}).encode(), None),
        (b'["\\\\",' + nested(400) + b"]", "deep"),
        (b'["never ends \\', None),
        (b"9" * (MAX_DIGITS + 1), "digits"),
        (b'{"a":[1,-' + b"9" * 4000 + b"]}", "digits"),
        (b"9" * MAX_DIGITS, None),
        (b'{"input":"' + b"9" * 4000 + b'"}', None),
        ('["', "UTF-8"),
        ("[[1]]", "UTF-8"),
        (b"", None),
    ],
)
def test_what_is_too_much_is_told_from_the_bytes(text: bytes | str, problem: str | None) -> None:
    found = extent(text.encode("utf-16") if isinstance(text, str) else text).problem
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=200,
)


def values(document: Any) -> int:
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return 1 + sum(values(one) for one in inner)


@given(JSON, st.booleans())
def test_no_document_has_more_values_than_are_told(document: Any, is_ascii: bool) -> None:
    told = extent(json.dumps(document, ensure_ascii=is_ascii).encode()).values
    assert told >= values(document)


@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b'"[', b"[\\", b'"\\"', b"9" * MAX_DIGITS + b","])
def test_no_text_takes_long(unit: bytes) -> None:
    for start in (b"", b'"'):
        text = (b"[" * 100 + start + unit * MEGABYTE)[:MEGABYTE]
        begun = time.process_time()
        extent(text)
        assert time.process_time() - begun < 1
