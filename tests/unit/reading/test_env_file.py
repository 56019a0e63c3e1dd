"""`.env` files: what is read, and what is refused without repeating what may be a secret."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reading.env_file import EnvFile, Problem, parse
from tests.unit.asking import MANY

# As docker compose reads them, where it reads them at all.
AS_WRITTEN = {
    "A=1": "1",
    "export A=1": "1",
    "A = spaced ": "spaced",
    "A: like YAML": "like YAML",
    "A='single # kept'": "single # kept",
    'A="double" # comment': "double",
    "A=plain # comment": "plain",
    "A=url#fragment": "url#fragment",
    "A=#1": "#1",
    "A=": "",
    "A=   # comment": "",
    "A=\t# comment\nB=1": "",
    "A=1\r\nB=2\r\n": "1",
    "\ufeffA=1": "1",
    'A="-----BEGIN\nMIIE=\n-----END" # key\nB=1': "-----BEGIN\nMIIE=\n-----END",
    "A='one\ntwo'": "one\ntwo",
    r'A="{\"a\": \"b\"}"': '{"a": "b"}',
    r"A='Let\'s'": "Let's",
    r'A="one\ntwo\t\\three\q"': "one\ntwo\t\\three\\q",
    r"A='one\ntwo'": r"one\ntwo",
    r"A=one\ntwo": r"one\ntwo",
}
EXPANDED = {
    "A=${SET}": "outside",
    "A=$SET/x": "outside/x",
    'A="<${SET}>"': "<outside>",
    "A='${SET}'": "${SET}",
    "SET=inside\nA=${SET}": "outside",
    "HOST=h\nA=redis://${HOST}:${PORT:-6379}/": "redis://h:6379/",
    "A=${NO-1}${NO:-2}${EMPTY-3}${EMPTY:-4}": "124",
    "A=${SET+5}${EMPTY+6}${EMPTY:+7}${NO+8}": "56",
    "A=${NO:-${NO:-${SET}}}": "outside",
    "A=${SET:?must be}": "outside",
    "A=$$SET $${SET}": "$SET ${SET}",
    r'A="\$SET"': "$SET",
    "A=costs 5$ or $5": "costs 5$ or $5",
}


def value(text: str) -> str:
    return parse(text, {"SET": "outside", "EMPTY": ""}).variables["A"].value


@pytest.mark.parametrize(("text", "expected"), AS_WRITTEN.items())
def test_a_line_is_read_as_written(text: str, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(("text", "expected"), EXPANDED.items())
def test_a_variable_in_a_value_is_expanded(text: str, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("just words", ""),
        ("QDRANT_HOST 127.0.0.1", "QDRANT_HOST"),
        ("A='open", "A"),
        ('A="open', "A"),
        ('A="closed" and more', "A"),
        ("=x", ""),
        ("A=${not closed", "A"),
        ("A=${no name}", "A"),
        ("A=${NO:?is needed}", "A"),
        ("A=\0", "A"),
        ("A=\udcff", "A"),
    ],
)
def test_a_bad_line_costs_only_itself_and_is_not_repeated(line: str, name: str) -> None:
    read = parse(f"B=1\n{line}\nC=2", {})
    (problem,) = read.problems
    assert (problem.line, problem.name, problem.is_broken) == (2, name, True)
    assert line not in problem.what
    assert {name: variable.value for name, variable in read.variables.items()} == {"B": "1", "C": "2"}


def test_a_later_line_wins_and_keeps_its_number() -> None:
    variable = parse('A="1\n1"\n\nA=2\n', {}).variables["A"]
    assert (variable.value, variable.line) == ("2", 4)


def test_a_name_alone_is_the_environments() -> None:
    assert parse("A\nexport B\n", {}) == EnvFile()


def test_what_is_not_set_is_empty_and_named() -> None:
    read = parse("A=redis://:${REDIS_PASSWORD}@$REDIS_HOST", {})
    assert read.variables["A"].value == "redis://:@"
    assert [problem.is_broken for problem in read.problems] == [False, False]
    assert [problem.what.split(" ")[0] for problem in read.problems] == ["REDIS_PASSWORD", "REDIS_HOST"]


def test_what_may_be_a_part_of_a_password_is_not_named() -> None:
    (problem,) = parse("REDIS_PASSWORD=pa$sw0rd", {}).problems
    assert "sw0rd" not in problem.what


def test_a_value_names_the_environments_variables_that_it_is_made_of() -> None:
    read = parse("A=${SET}\nB=x${A}\nC=${OWN:-${SET}}\nD=${SET+y}", {"SET": "s"})
    taken = {name: variable.takes for name, variable in read.variables.items()}
    assert taken == {"A": {"SET"}, "B": {"SET"}, "C": {"SET"}, "D": {"SET"}}


def test_lines_that_double_each_other_are_bounded() -> None:
    read = parse("A=" + "x" * 1000 + "\n" + "A=$A$A\n" * 100, {})
    assert isinstance(read.problems[0], Problem)
    assert len(read.variables["A"].value) <= 128 * 1024


@pytest.mark.parametrize(
    "text", ['"' * 250_000, 'A="' + "\\" * 250_000, "A=" + "${" * 125_000, 'A="x\n' * 50_000, "A='\n" * 83_000]
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    parse(text, {})
    assert time.process_time() - started < 5


@MANY
@given(st.text(alphabet=st.sampled_from("AB=:${}\"'\\#-?+ \n\t1é")), st.text())
def test_any_text_is_read(text: str, other: str) -> None:
    for each in (text, other, f"A={other}", f'A="{text}"'):
        read = parse(each, {"A": "$B", "B": "b"})
        assert all("\0" not in variable.value for variable in read.variables.values())
        assert all(1 <= problem.line <= each.count("\n") + 1 for problem in read.problems)
