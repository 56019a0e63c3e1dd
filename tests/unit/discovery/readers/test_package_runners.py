"""Which package a command starts: everybody's ways of writing it, and what is no package of a registry."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.readers.commands import LaunchError, unwrapped
from discovery.readers.package_runners import Called, package_in, read
from tests.unit.asking import MANY


def called(line: str | list[str]) -> Called | None:
    return read(unwrapped(shlex.split(line) if isinstance(line, str) else line))


@pytest.mark.parametrize(
    ("line", "package", "binary", "arguments"),
    [
        ("npx -y @upstash/context7-mcp@4.1.1", "@upstash/context7-mcp@4.1.1", None, ()),
        ("npx --yes pkg --flag -y", "pkg", None, ("--flag", "-y")),
        ("npx -p pkg tool x", "pkg", "tool", ("x",)),
        ("npx --package=pkg@1.0.0 tool", "pkg@1.0.0", "tool", ()),
        ("npx -yp pkg tool", "pkg", "tool", ()),
        ("npx -y -- pkg -x", "pkg", None, ("-x",)),
        ("npx -p pkg -- tool -x", "pkg", "tool", ("-x",)),
        ("npx --yes=true pkg", "pkg", None, ()),
        ("npx --prefer-offline --loglevel=error --no-fund pkg", "pkg", None, ()),
        ("npx --loglevel error pkg", "pkg", None, ()),
        ("npx -y pkg@latest", "pkg@latest", None, ()),
        ("npx -y pkg@^0.10.0", "pkg@^0.10.0", None, ()),
        ("npx -y pkg@~1.2", "pkg@~1.2", None, ()),
        ("npx -y 'pkg@>=1 <2'", "pkg@>=1 <2", None, ()),
        ("npx -y 'pkg@>= 1.2.3  < 2'", "pkg@>=1.2.3 <2", None, ()),
        ("npx -y 'pkg@^1 || ^2'", "pkg@^1 || ^2", None, ()),
        ("npx -y pkg@1.x", "pkg@1.x", None, ()),
        ("npx -y @Scope/Pkg", "@Scope/Pkg", None, ()),
        ("npm exec -y pkg x", "pkg", None, ("x",)),
        ("npm exec --package=pkg -- tool x", "pkg", "tool", ("x",)),
        ("npm x pkg", "pkg", None, ()),
        ("npm --silent exec pkg", "pkg", None, ()),
        ("pnpm dlx pkg@1.2.3 x", "pkg@1.2.3", None, ("x",)),
        ("pnpm --package=pkg dlx tool", "pkg", "tool", ()),
        ("pnpx pkg", "pkg", None, ()),
        ("yarn dlx -q pkg", "pkg", None, ()),
        ("yarn dlx -p pkg tool", "pkg", "tool", ()),
        ("bunx -y pkg@latest", "pkg@latest", None, ()),
        ("bun x pkg", "pkg", None, ()),
        ("deno run -A --allow-env=A,B npm:@scope/pkg@1.2.3 x", "@scope/pkg@1.2.3", None, ("x",)),
    ],
)
def test_what_starts_packages_of_npm(line: str, package: str, binary: str | None, arguments: tuple[str, ...]) -> None:
    assert called(line) == Called("npx", package, binary, arguments)


@pytest.mark.parametrize(
    ("line", "package", "binary", "arguments"),
    [
        ("uvx mcp-server-time --local-timezone=UTC", "mcp-server-time", None, ("--local-timezone=UTC",)),
        ("uvx --from mcp[cli]==1.2.3 mcp", "mcp[cli]==1.2.3", "mcp", ()),
        ("uvx --from=a@latest b -p 1", "a@latest", "b", ("-p", "1")),
        ("uvx ruff@0.14.0", "ruff@0.14.0", None, ()),
        ("uvx a.b-c@latest", "a.b-c@latest", None, ()),
        ("uvx 'a[all] >= 1.0, <2'", "a[all]>=1.0,<2", None, ()),
        ("uvx 'a~=1.2'", "a~=1.2", None, ()),
        ("uvx -q --refresh --isolated --no-cache a", "a", None, ()),
        ("uvx --color never a", "a", None, ()),
        ("uv tool run a x", "a", None, ("x",)),
        ("uv tool run --from a.b@latest a.b.exe", "a.b@latest", "a.b", ()),
        ("uv run --with a b --c", "a", "b", ("--c",)),
        ("uv run --no-project --with a -- b", "a", "b", ()),
        ("pipx run a x", "a", None, ("x",)),
        ("pipx run --spec a==1.0 b x", "a==1.0", "b", ("x",)),
        ("pipx run a==1.0", "a==1.0", None, ()),
    ],
)
def test_what_starts_packages_of_python(
    line: str, package: str, binary: str | None, arguments: tuple[str, ...]
) -> None:
    assert called(line) == Called("uvx", package, binary, arguments)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("uvx --with httpx --with 'rich>=1,<2,x[y,z]' a", Called("uvx", "a", beside=("httpx", "rich>=1,<2", "x[y,z]"))),
        ("uv run --with a,b b", Called("uvx", "b", "b", beside=("a",))),
        ("uv run --with 'b>=1' --with a b", Called("uvx", "b>=1", "b", beside=("a",))),
        ("npx -p a -p @s/tool@1.0.0 tool", Called("npx", "@s/tool@1.0.0", "tool", beside=("a",))),
        ("npx -p a -p b tool", Called("npx", "a", "tool", beside=("b",))),
        ("uvx --python 3.12 a", Called("uvx", "a", python="3.12")),
        ("uvx -p '>=3.11,<3.14' a", Called("uvx", "a", python=">=3.11,<3.14")),
        ("pipx run --python=python3.12 a", Called("uvx", "a", python="python3.12")),
        ("uvx --prerelease allow a", Called("uvx", "a", options=("--prerelease=allow",))),
    ],
)
def test_what_comes_along_is_known(line: str, expected: Called) -> None:
    assert called(line) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bunx -y pkg@1.2.3", ("-y", "pkg@1.2.3")),
        ("npx --cache /geheim pkg", ("-y", "pkg")),
        ("npx -p a -p b tool", ("-y", "--package", "a", "--package", "b", "tool")),
        ("uv tool run a", ("a",)),
        ("uvx --with b --python 3.12 a", ("--python", "3.12", "--with", "b", "a")),
        ("pipx run --spec a==1.0 b", ("--from", "a==1.0", "b")),
    ],
)
def test_the_words_start_the_same(line: str, words: tuple[str, ...]) -> None:
    one = called(line)
    assert one is not None and one.words == words
    assert read(unwrapped([one.program, *one.words])) == one


@pytest.mark.parametrize(
    "line",
    [
        "node server.js",
        "npm run start",
        "npm --prefix /x exec a",
        "pnpm exec a",
        "yarn start",
        "bun run index.ts",
        "uv run server.py",
        "uv run --with mcp[cli] mcp run /x/server.py",
        "uv run --with mcp mcp run /x/server.py:app",
        "uv run --with a python -m b",
        "uv run --with a ./b",
        "uv run --directory /x a",
        "uv run --with a --directory /x b",
        "uv run --with-editable . a",
        "uv run a",
        "uv pip install a",
        "pipx install a",
        "docker run -i a",
        "deno run -A server.ts",
        "deno run --config x npm:pkg",
        "deno run jsr:@a/b",
    ],
)
def test_what_lies_on_this_host_is_no_package(line: str) -> None:
    assert called(line) is None


NO_PACKAGES = ("a; touch x", "$(a)", "a`b`", "a|b", "a&b", "a\nb", "a" * 300, "")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("npx --registry=https://npm.invalid a", r"npx --registry chooses another npm registry; set npmRegistry"),
        ("npx --userconfig /x/.npmrc a", "chooses another npm registry"),
        ("uvx --index-url https://pypi.invalid a", r"uvx --index-url chooses another Python index; set pythonIndex"),
        ("uvx --extra-index-url=https://u:geheim@pypi.invalid a", "chooses another Python index"),
        ("uvx --default-index x a", "chooses another Python index"),
        ("uv run --index x --with a b", "chooses another Python index"),
        ("pipx run --pip-args=--index-url=x a", "chooses another Python index"),
        ("npx -c 'touch x'", "has a line for a shell"),
        ("npx --prefix /x a", "names a path of this host"),
        ("uvx --with-editable /x a", "names a path of this host"),
        ("uvx --python /usr/bin/python3 a", "names a path of this host"),
        ("npx --node-options=--inspect a", "sets options of Node's own"),
        ("bunx --bun a", "asks for Bun itself"),
        ("npx --frobnicate a", "with --frobnicate, which a runner does not know"),
        ("npx --GEHEIM1 a", "with an option, which a runner does not know"),
        ("uvx --from", "with --from and nothing after it"),
        ("npx -y", "without a package one can tell"),
        ("uvx --from git+https://h.invalid/a.git b", "from a repository"),
        ("uvx 'a @ git+https://h.invalid/a.git'", "from a repository"),
        ("npx github:a/b", "from a repository"),
        ("npx a/b", "from a repository"),
        ("npx git@h.invalid:a/b.git", "from a repository"),
        ("npx https://h.invalid/a.tgz", "from an address"),
        ("uvx --from https://h.invalid/a.whl b", "from an address"),
        ("npx ./a", "from a path of this host"),
        ("npx ../a", "from a path of this host"),
        ("npx .", "from a path of this host"),
        ("uvx --from ~/a b", "from a path of this host"),
        ("uvx --from . b", "from a path of this host"),
        ("npx file:a", "from a path of this host"),
        (["npx", r"C:\a"], "from a path of this host"),
        ("uvx --from a.whl b", "from a path of this host"),
        (["npx", "a@${VERSION}"], "with a package that a variable names; write the package out"),
        ("uvx --with git+https://h.invalid/a a", "from a repository"),
        ("npx -p a 'b;c'", "with a program that has no plain name"),
        ("uvx --from a b/../c", "with a program that has no plain name"),
        *(([program, text], "without a package") for program in ("npx", "uvx") for text in NO_PACKAGES),
    ],
)  # fmt: skip
def test_what_no_runner_takes_says_why_and_what_to_do(line: str | list[str], why: str) -> None:
    with pytest.raises(LaunchError, match=why) as caught:
        called(line)
    assert "; " in str(caught.value) and len(str(caught.value)) <= 200
    assert "geheim" not in str(caught.value).lower() and "invalid" not in str(caught.value)


OPTION = st.sampled_from(
    ["-y", "-p", "--", "-c", "--package", "--package=", "--from", "--with", "--with=a,b", "--python", "-yp", "--spec"]
)  # fmt: skip
PACKAGE = st.sampled_from(["a", "@s/a@1.2.3", "a@>=1 <2", "a[b]>=1", "a==1", "./a", "git+a", "a/b"])
WORDS = st.lists(OPTION | PACKAGE | st.text(max_size=8) | st.from_regex(r"-{1,2}[a-z]{1,8}(=.{0,5})?", fullmatch=True))
STARTS = st.sampled_from(
    [
        ("npx",), ("npm", "exec"), ("pnpm", "dlx"), ("yarn", "dlx"), ("bunx",), ("bun", "x"), ("pnpx",),
        ("uvx",), ("uv", "tool", "run"), ("uv", "run"), ("pipx", "run"), ("deno", "run"),
    ]
)  # fmt: skip
# One word to any shell, but for the signs of a range of versions, of which no shell makes a command.
_PLAIN = re.compile(r"[A-Za-z0-9@/._~+,!=\[\]-]+")
_RANGE = re.compile(r"[0-9A-Za-z.+*^~<>=| -]+")


@MANY
@given(STARTS, WORDS)
def test_any_words_are_a_plain_package_or_say_why(start: tuple[str, ...], words: list[str]) -> None:
    try:
        one = called([*start, *words])
    except LaunchError as error:
        assert str(error).isprintable()
        return
    if one is None:
        assert start in (("uv", "run"), ("deno", "run"))
        return
    for package in (one.package, *one.beside):
        assert package_in(one.program, package) == package
        name, _, version = package.rpartition("@") if one.program == "npx" else (package, "", "")
        assert _PLAIN.fullmatch(re.sub("[<>=~!*]", "", name or version))
        assert not name or not version or _RANGE.fullmatch(version)
        assert not package.startswith("-")
    for word in (one.binary, one.python, *one.options):
        assert word is None or shlex.split(word) == [word]
    # Who starts it by these words starts the same.
    assert read(unwrapped([one.program, *one.words, *one.arguments])) == one
