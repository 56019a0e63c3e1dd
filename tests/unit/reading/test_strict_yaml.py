"""Strict YAML: what a person writes is what is read, or it is a problem with its line."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reading import strict_yaml
from tests.unit.asking import MANY


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", 1),
        ("a: -7", -7),
        ("a: 0", 0),
        ("a: 0.5", 0.5),
        ("a: true", True),
        ("a: False", False),
        ("a: ~", None),
        ("a:", None),
        ("a: text", "text"),
        ("a: 'no'", "no"),
        ('a: "0777"', "0777"),
        ('a: "22:22"', "22:22"),
        ("a: 192.168.1.16:6333", "192.168.1.16:6333"),
        ("a: |\n  two\n  lines\n", "two\nlines\n"),
        ("a: [1, x]", [1, "x"]),
        ("a: {b: 1}", {"b": 1}),
    ],
)
def test_a_plain_value_is_what_it_looks_like(text: str, value: object) -> None:
    document = strict_yaml.read(text.encode())

    assert document.problems == ()
    assert document.value == {"a": value}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: no", "read as true or false"),
        ("a: On", "read as true or false"),
        ("a: YES", "read as true or false"),
        ("a: 0777", "another notation"),
        ("a: 0o777", "another notation"),
        ("a: 0x1F", "another notation"),
        ("a: 0b11", "another notation"),
        ("a: 1_000", "another notation"),
        ("a: +1", "another notation"),
        ("a: 1.5e+3", "another notation"),
        ("a: .5", "another notation"),
        ("a: 1.", "another notation"),
        ("a: .inf", "another notation"),
        ("a: .nan", "another notation"),
        ("a: 12345678901234567890", "another notation"),
        ("a: 22:22", "base 60"),
        ("a: 190:20:30.15", "base 60"),
        ("a: 2026-01-01", "date"),
        ("a: =", "special meaning"),
        ("a: &x 1", "anchor (&x)"),
        ("a: *x", "alias (*x)"),
        ("a: !!str 1", "tag"),
        ("a: !secret x", "tag"),
        ("a: !x [1]", "tag"),
        ("a: !!python/object/apply:os.system ['true']", "tag"),
        ("<<: {a: 1}", "'<<' merges"),
        ("no: 1", "read as true or false"),
        ("8000: 1", "key that is not text"),
        ("true: 1", "key that is not text"),
        ("~: 1", "key that is not text"),
        ("? [a]\n: 1", "key that is not plain text"),
        ("a: 1\na: 2", "given twice (first in line 1)"),
        ("1: a\n'1': b", "key that is not text"),
        ("a: 1\n---\nb: 2", "second document"),
        ("%YAML 1.1\n---\na: 1", "% directive"),
        ("a: [1", "not YAML"),
        ("a:\n\tb: 1", "not YAML"),
        ('a: "\\UFFFFFFFF"', "outside what YAML allows"),
        ('a: "\\uD800"', "half a character"),
        ('a: "\\0"', "NUL"),
        ("a: \x07", "which YAML does not allow"),
        ("a: \0", "NUL"),
        ("[" * 3000, "deeper than 20"),
        ("- " * 3000, "deeper than 20"),
        ("{a: " * 3000, "deeper than 20"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", "outside what YAML allows"),
    ],
)
def test_a_trap_is_a_problem(text: str, words: str) -> None:
    document = strict_yaml.read(text.encode())

    assert any(words in problem.what for problem in document.problems), document.problems


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbfa: 1", "byte order mark"),
        ("a: 1".encode("utf-16"), "byte order mark"),
        (b"a: \xff", "not UTF-8 (byte 0xff)"),
        (b"a: 1\n" * 20_000, "larger than 64 KiB"),
    ],
)
def test_other_encodings_and_sizes_are_problems(data: bytes, words: str) -> None:
    document = strict_yaml.read(data)

    assert document.value is None
    assert words in document.problems[0].what


def test_problems_know_their_line_and_key() -> None:
    problems = strict_yaml.read(b"a: 1\nb:\n  c:\n    - 1\n    - no\n").problems

    assert [(problem.line, strict_yaml.key_text(problem.path)) for problem in problems] == [(5, "b.c[1]")]


def test_every_problem_is_told_and_what_is_good_is_read() -> None:
    document = strict_yaml.read(b"a: no\nb: 22:22\nc: 3\n")

    assert [problem.line for problem in document.problems] == [1, 2]
    assert document.value == {"a": None, "b": None, "c": 3}


def test_numbers_may_be_keys_where_an_order_is_meant() -> None:
    document = strict_yaml.read(b"priority_order: {1: a, '2': b}", numbered=("priority_order",))

    assert document.problems == ()
    assert document.value == {"priority_order": {"1": "a", "2": "b"}}


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        "[" * 65_000,
        "? " * 30_000,
        "a: " * 20_000,
        "&a " * 20_000,
        "- !x &y\n" * 8_000,
        "{" * 1000 + "a: 1, " * 10_000,
        "'" + "\n" * 60_000,
        "".join(f"k{i}: [no, 0777, 22:22]\n" for i in range(2_500)),
        "a: 1\n" * 13_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_small_file_takes_long(text: str) -> None:
    start = time.process_time()

    strict_yaml.read(text.encode()[: strict_yaml.MAX_BYTES])

    assert time.process_time() - start < 1.0


_YAML_LINES = st.lists(
    st.tuples(
        st.sampled_from(["", "  ", "    ", "- ", "  - ", "\t"]),
        st.sampled_from(["a", "'b'", "no", "1", "<<", "? x", "&a x", "*a", "!t x", "[", "{", "---", "...", '"\\u']),
        st.sampled_from([":", ": ", " : |", ": >-", "", "]", "}", " #"]),
        st.text(max_size=8),
    ).map("".join),
    max_size=8,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))


@MANY
@example(b"")
@example(b"\x85")
@example("a: \u2028b: 1".encode())
@given(_YAML_LINES | st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_a_document_or_problems(data: bytes) -> None:
    document = strict_yaml.read(data)

    _check(document.value)
    for problem in document.problems:
        assert 1 <= problem.line <= data.count(b"\n") + data.count(b"\r") + len(data) + 1
        assert problem.what.isprintable()
        assert strict_yaml.key_text(problem.path).isprintable()


def _check(value: object) -> None:
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for inner in value.values():
            _check(inner)
    elif isinstance(value, list):
        for inner in value:
            _check(inner)
    else:
        assert value is None or isinstance(value, str | int | float | bool)


def test_nobody_is_told_more_problems_than_can_be_read() -> None:
    document = strict_yaml.read(b"a: 1\n" * 5_000)
    assert len(document.problems) == strict_yaml.MAX_PROBLEMS + 1
    assert document.problems[-1].what == "is not the last problem; correct these first"
    assert document.value is None
