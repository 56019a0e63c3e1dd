"""How a template becomes a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from rendering.template import Template


def template(folder: Path, text: str) -> Template:
    path = folder / "some.conf"
    path.write_text(text)
    return Template(path)


def test_values_stand_where_their_names_stood(tmp_path: Path) -> None:
    assert template(tmp_path, "listen @HOST@:@PORT@;\n").fill(HOST="here", PORT=80) == "listen here:80;"


def test_a_value_alone_on_its_line_is_indented_line_by_line(tmp_path: Path) -> None:
    text = "server {\n    @ROUTES@\n}\n"
    assert template(tmp_path, text).fill(ROUTES="a;\n\nb {\n    c;\n}") == (
        "server {\n    a;\n\n    b {\n        c;\n    }\n}"
    )


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("    ## Why.\n    ## And why else.\n    a;\n", "    a;"),
        ("if a; then ##\n    ## Why.\n    b; ##\nfi\n", "if a; then b; fi"),
        ("a; ## why\nb;\n", "a; b;"),
        ("# This stays.\na;\n", "# This stays.\na;"),
        # Bash's own.
        ("set -- ${line##*) } ${line## }\nb\n", "set -- ${line##*) } ${line## }\nb"),
    ],
)
def test_remarks_are_left_out_and_nothing_else(text: str, rendered: str, tmp_path: Path) -> None:
    assert template(tmp_path, text).fill() == rendered


def test_a_value_is_taken_as_it_is(tmp_path: Path) -> None:
    value = "@B@ \\1 ## no remark\n"
    assert template(tmp_path, "( @A@ )\n@B@").fill(A=value, B="b") == f"( {value} )\nb"


@pytest.mark.parametrize("values", [{}, {"A": "a", "B": "b"}, {"B": "b"}])
def test_names_and_values_must_match(values: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"some\.conf"):
        template(tmp_path, "@A@").fill(**values)
