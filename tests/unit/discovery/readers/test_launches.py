"""What a runner would start, read from the words of a command: packages only, and nothing that a shell could read."""

from __future__ import annotations

import json

import pytest

from discovery.readers import launches
from discovery.readers.launches import LaunchError, launch_of
from discovery.report import Launch


@pytest.mark.parametrize(
    ("program", "words", "package", "binary", "arguments"),
    [
        ("npx", ["-y", "@upstash/context7-mcp@4.1.1"], "@upstash/context7-mcp@4.1.1", None, ()),
        ("npx", ["--yes", "pkg", "--flag", "-y"], "pkg", None, ("--flag", "-y")),
        ("npx", ["-p", "pkg", "tool", "x"], "pkg", "tool", ("x",)),
        ("npx", ["--package=pkg@1.0.0", "tool"], "pkg@1.0.0", "tool", ()),
        ("uvx", ["mcp-server-time", "--local-timezone=UTC"], "mcp-server-time", None, ("--local-timezone=UTC",)),
        ("uvx", ["--from", "mcp[cli]==1.2.3", "mcp"], "mcp[cli]==1.2.3", "mcp", ()),
        ("uvx", ["ruff@0.14.0"], "ruff@0.14.0", None, ()),
    ],
)
def test_a_command_is_a_package_and_its_arguments(
    program: str, words: list[str], package: str, binary: str | None, arguments: tuple[str, ...]
) -> None:
    launch = launch_of(program, words, None, {})
    assert (launch.package, launch.binary, launch.arguments) == (package, binary, arguments)


@pytest.mark.parametrize("program", launches.PROGRAMS)
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-y"],
        ["a; touch /tmp/x"],
        ["$(touch x)"],
        ["a`id`"],
        ["a|b"],
        ["a&b"],
        ["a\nb"],
        ["./local"],
        ["/usr/bin/evil"],
        ["../up"],
        ["git+https://example.invalid/a.git"],
        ["https://example.invalid/a.tgz"],
        ["file:evil"],
        ["-c", "touch x"],
        ["--registry=http://evil.invalid", "a"],
        ["--index-url", "http://evil.invalid", "a"],
        ["a" * 300],
        ["-p", "a", "b;c"],
        ["--from", "a", "b/../c"],
    ],
)
def test_what_is_no_plain_package_is_refused(program: str, words: list[str]) -> None:
    with pytest.raises(LaunchError):
        launch_of(program, words, None, {})


def test_variables_are_expanded_and_never_shown() -> None:
    launch = launch_of("npx", ["a", "--key", "${KEY}"], {"OWN": "${KEY}"}, {"KEY": "geheim"})
    assert launch.environment == {"OWN": "geheim"} and launch.arguments == ("--key", "geheim")
    assert "geheim" not in repr(launch)


@pytest.mark.parametrize(
    ("words", "variables", "told", "pairs"),
    [
        (["-y", "a"], None, ("-y", "a"), ()),
        (["--package=a", "tool"], {"OWN": "${KEY}"}, ("--package=a", "tool"), (("OWN", "KEY"),)),
        (["a", "--key", "geheim"], None, None, ()),
        (["a"], {"OWN": "geheim"}, None, ()),
        (["a"], {"OWN": "${KEY}", "OTHER": "Bearer ${KEY}"}, None, (("OWN", "KEY"),)),
        (["a"], {"OWN": "${KEY:-geheim}"}, None, ()),
    ],
)
def test_a_command_is_told_where_nothing_in_it_can_be_a_secret(
    words: list[str], variables: object, told: tuple[str, ...] | None, pairs: tuple[tuple[str, str], ...]
) -> None:
    launch = launch_of("npx", words, variables, {"KEY": "geheim"})
    assert (launch.told, launch.variables) == (told, pairs)
    assert "geheim" not in repr(launch)


@pytest.mark.parametrize(
    ("variables", "words"),
    [({"A": "${MISSING}"}, "MISSING, which is not set"), ({"A": 5}, "env"), ({"A=B": "x"}, "env"), ([1], "env")],
)
def test_variables_that_cannot_be_set_say_why(variables: object, words: str) -> None:
    with pytest.raises(LaunchError, match=words):
        launch_of("npx", ["a"], variables, {})


def test_the_runner_is_told_everything() -> None:
    launch = Launch("uvx", "a==1.0", binary="b", arguments=("c",), environment={"D": "e"})
    assert json.loads(launches.file_text(launch)) == {
        "program": "uvx",
        "package": "a==1.0",
        "binary": "b",
        "arguments": ["c"],
        "environment": {"D": "e"},
    }
