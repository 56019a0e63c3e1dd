"""`python -m docs.links`: whether every link of every page leads somewhere. Asks no network.

Checked are links, images and `#anchors` within the repository, and paths in code that look like one of its files.
"""

from __future__ import annotations

import difflib
import functools
import posixpath
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent

_HTML_LINK = re.compile(r"\b(?:href|src)\s*=\s*[\"']([^\"']*)[\"']")
_HTML_ANCHOR = re.compile(r"\b(?:id|name)\s*=\s*[\"']([^\"']*)[\"']")
# At least one folder, and a name with an extension. Whatever has another character is a pattern, an address, a value.
_PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*\w\.[A-Za-z]\w*")
# As in `snapshots/NAME.json`: a word that stands for another one.
_PLACEHOLDER = re.compile(r"(?:^|[/._-])(?!README)[A-Z]{2,}(?:[/._-]|$)")
# Pages name a test by its file below here.
_TESTS = "tests"


@dataclass(frozen=True)
class Link:
    """A link as it is written, or a path in code, and the line that it begins on or after."""

    line: int
    target: str
    is_path: bool = False


@dataclass(frozen=True)
class Page:
    """What a page links to, and the anchors that others may link to."""

    links: tuple[Link, ...]
    anchors: Collection[str]


class Repository:
    """What links may lead to. `files` are paths from `root`, with `/`."""

    def __init__(self, root: Path, files: Collection[str]) -> None:
        self._root, self._files = root, files
        self._folders = {folder.as_posix() for file in files for folder in Path(file).parents}
        self._page = functools.cache(self._read)

    def problems(self) -> Iterator[str]:
        """A line for each link that leads nowhere: `file:line: link: what is wrong`."""
        for file in sorted(file for file in self._files if file.endswith(".md")):
            for link in self._page(file).links:
                what = self._wrong_path(file, link.target) if link.is_path else self._wrong_link(file, link.target)
                if what:
                    yield f"{file}:{link.line}: {link.target}: {what}"

    def _read(self, file: str) -> Page:
        return read_page((self._root / file).read_text(encoding="utf-8"))

    def _wrong_link(self, file: str, target: str) -> str | None:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            return None
        path, anchor = unquote(parts.path), unquote(parts.fragment)
        folder = "" if path.startswith("/") else posixpath.dirname(file)
        whole = posixpath.normpath(posixpath.join(folder, path.lstrip("/"))) if path else file
        if whole not in self._files and whole not in self._folders:
            return f"there is no such file{self._meant(whole)}"
        if not anchor:
            return None
        if not whole.endswith(".md"):
            return "only a page has anchors, and line numbers move; link to the file"
        anchors = self._page(whole).anchors
        return None if anchor in anchors else f"{whole} has no such heading{_like(anchor, anchors, '#')}"

    def _wrong_path(self, file: str, path: str) -> str | None:
        places = ("", _TESTS, posixpath.dirname(file))
        if any(posixpath.normpath(posixpath.join(place, path)) in self._files for place in places):
            return None
        # What git ignores is not the repository's, but made on each machine.
        ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=self._root, capture_output=True)
        return None if ignored.returncode == 0 else f"there is no such file{self._meant(path)}"

    def _meant(self, path: str) -> str:
        name = posixpath.basename(path)
        same = [file for file in self._files if posixpath.basename(file) == name]
        return _like(path, same, least=0.0) if same else _like(path, self._files)


def _like(word: str, known: Collection[str], mark: str = "", least: float = 0.75) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=least)
    return f"; did you mean {mark}{close[0]}?" if close else ""


def read_page(text: str) -> Page:
    """The links and anchors of a Markdown text, as GitHub sees them."""
    links: list[Link] = []
    anchors: list[str] = []
    repeated: Counter[str] = Counter()
    lines = text.splitlines()
    start, end = 0, len(lines)

    def add(target: str, *, is_path: bool = False) -> None:
        shown = next((number for number in range(start, end) if target in lines[number]), start)
        links.append(Link(shown + 1, target, is_path))

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in zip([None, *tokens], tokens, strict=False):
        start, end = token.map or (start, end)
        if before is not None and before.type == "heading_open":
            slug = slug_of(token)
            anchors.append(f"{slug}-{repeated[slug]}" if repeated[slug] else slug)
            repeated[slug] += 1
        for part in (token, *(token.children or ())):
            match part.type:
                case "link_open" | "image":
                    add(unquote(str(part.attrs.get("href", part.attrs.get("src")))))
                case "html_inline" | "html_block":
                    anchors += _HTML_ANCHOR.findall(part.content)
                    for target in _HTML_LINK.findall(part.content):
                        add(target)
                case "code_inline" | "fence" | "code_block":
                    for path in _paths(part.content):
                        add(path, is_path=True)
    return Page(tuple(links), frozenset(anchors))


def _paths(code: str) -> Iterator[str]:
    for word in code.split():
        path = re.sub(r"(::\w+|:\d+)?[,;.)]*$", "", word).removeprefix("./")
        if _PATH.fullmatch(path) and not _PLACEHOLDER.search(path):
            yield path


def slug_of(heading: Token) -> str:
    """The anchor that GitHub gives a heading.

    Source: https://github.com/gjtorikian/html-pipeline, table_of_contents_filter.rb
    """
    text = "".join(part.content for part in heading.children or () if part.type in ("text", "code_inline"))
    kept = (letter for letter in text.lower() if _is_of_a_word(letter) or letter in "- ")
    return "".join(kept).replace(" ", "-")


def _is_of_a_word(letter: str) -> bool:
    category = unicodedata.category(letter)
    return category[0] in "LM" or category in ("Nd", "Pc")


def repository_files(root: Path) -> frozenset[str]:
    """What is in the repository, or would be with the next `git add -A`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    return frozenset(file for file in listed if (root / file).is_file())


def main() -> int:
    """Print every broken link; 1 if there is one."""
    found = list(Repository(ROOT, repository_files(ROOT)).problems())
    for line in found:
        sys.stdout.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
