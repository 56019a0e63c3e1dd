"""The link check: what it finds, on which line, and what it leaves alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from docs.links import Repository, read_page, repository_files

OTHER = """\
# Other page

## A `code` word, twice

## A `code` word, twice

## Grüße & [links](page.md#here), 100%

<a id="by-hand"></a>
"""


def complaints(root: Path, text: str) -> list[str]:
    for path, content in {
        "docs/page.md": text,
        "docs/other.md": OTHER,
        "docs/images/a.png": "",
        "code/a.py": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    (root / ".gitignore").write_text(".made/\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return [line for line in Repository(root, repository_files(root)).problems() if line.startswith("docs/page.md")]


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md), [b](../docs/other.md), [c](/docs/other.md), [d](images), [e](../code/a.py)",
        "[a](other.md#other-page), [b](other.md#a-code-word-twice), [c](other.md#a-code-word-twice-1)",
        "[a](other.md#grüße--links-100), [b](other.md#gr%C3%BC%C3%9Fe--links-100), [c](other.md#by-hand)",
        "# Here\n\n[a](#here) ![b](images/a.png) [c]\n\n[c]: other.md",
        "[a](https://example.com/gone.md#gone), <https://example.com>, [b](mailto:a@example.com)",
        "`[a](gone.md)`\n\n```md\n[a](gone.md)\n```\n\n    [a](gone.md)\n",
        "`code/a.py`, `images/a.png`, `./code/a.py:12`, `python code/a.py::test_it`, `snapshots/NAME.json`",
        "`~/gone/a.py`, `/gone/a.py`, `gone/…/a.py`, `gone/<stack>.yaml`, `npx @a/b@1.2.3`, `.made/here.json`, `a/b`",
    ],
)
def test_what_leads_somewhere_or_out_of_the_repository_is_left_alone(text: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, f"{text}\n\n# Here\n") == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("text\n[a](othre.md)", "2: othre.md: there is no such file; did you mean docs/other.md?"),
        ("[a](Other.md)", "1: Other.md: there is no such file; did you mean docs/other.md?"),
        ("[a](../other.md)", "1: ../other.md: there is no such file; did you mean docs/other.md?"),
        ("[a](../../outside.md)", "1: ../../outside.md: there is no such file"),
        ("![a](images/b.png)", "1: images/b.png: there is no such file; did you mean docs/images/a.png?"),
        ("<img src='images/b.png'>", "1: images/b.png: there is no such file; did you mean docs/images/a.png?"),
        ("[a](.made/here.json)", "1: .made/here.json: there is no such file"),
        (
            "[a](other.md#a-code-word)",
            "1: other.md#a-code-word: docs/other.md has no such heading; did you mean #a-code-word-twice?",
        ),
        (
            "[a](other.md#a-code-word-twice-2)",
            "1: other.md#a-code-word-twice-2: docs/other.md has no such heading; did you mean #a-code-word-twice-1?",
        ),
        ("| a |\n| --- |\n| b |\n| [c](#gone) |", "4: #gone: docs/page.md has no such heading"),
        ("one\n[two\nthree](nothing) four", "3: nothing: there is no such file"),
        (
            "[a](../code/a.py#L3)",
            "1: ../code/a.py#L3: only a page has anchors, and line numbers move; link to the file",
        ),
        ("`code/b.py`", "1: code/b.py: there is no such file; did you mean code/a.py?"),
        ("text\n\n```sh\nls\npython code/b.py\n```", "5: code/b.py: there is no such file; did you mean code/a.py?"),
    ],
)
def test_what_leads_nowhere_is_named_with_its_line(text: str, complaint: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, text) == [f"docs/page.md:{complaint}"]


def test_a_path_may_be_below_the_tests(tmp_path: Path) -> None:
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_a.py").touch()
    assert complaints(tmp_path, "`unit/test_a.py`, `tests/unit/test_a.py`") == []


def test_headings_of_both_kinds_have_anchors() -> None:
    assert read_page("One\n===\n\nTwo *words*\n---\n\n### 3. Three_x\n").anchors == {"one", "two-words", "3-three_x"}
