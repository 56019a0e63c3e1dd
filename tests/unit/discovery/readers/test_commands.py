"""The words of an entry's command: texts as JSON writes them, and what wrappers start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.readers import commands
from discovery.readers.commands import Command, LaunchError, unwrapped, variables_of, words_of
from tests.unit.asking import JSON_VALUES, MANY


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"command": "npx"}, ("npx",)),
        ({"command": "npx", "args": None}, ("npx",)),
        ({"command": "npx", "args": ["a", "-p", 3000, "-r", 1.5]}, ("npx", "a", "-p", "3000", "-r", "1.5")),
        ({"command": "npx", "args": [True, False, 3000.0, -0.25]}, ("npx", "true", "false", "3000", "-0.25")),
        ({"command": ["npx", "-y", "a"]}, ("npx", "-y", "a")),
        ({"command": ["npx", "-y"], "args": ["a"]}, ("npx", "-y", "a")),
    ],
)  # fmt: skip
def test_words_are_texts_as_json_writes_them(server: dict[str, object], words: tuple[str, ...]) -> None:
    assert words_of(server) == words


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ({"command": "npx", "args": "-y a"}, "has args that are one text"),
        ({"command": "npx", "args": {"a": 1}}, "has args that are no list"),
        ({"command": "npx", "args": ["a", None]}, "has null as word 3 of its command"),
        ({"command": "npx", "args": ["a", ["b"]]}, "has a list as word 3"),
        ({"command": "npx", "args": [{}]}, "has a map as word 2"),
        ({"command": "npx", "args": [float("nan")]}, "has a number that is none"),
        ({"command": "npx", "args": [float("inf")]}, "has a number that is none"),
        ({"command": "npx", "args": [10**400]}, "too large"),
        ({"command": "npx", "args": ["a"] * 256}, "has 257 words, of which 256 are read"),
        ({"command": []}, "has no command"),
        ({"command": " "}, "has no command"),
        ({}, "has null as word 1"),
    ],
)
def test_what_is_no_list_of_texts_is_told(server: dict[str, object], why: str) -> None:
    with pytest.raises(LaunchError, match=why):
        words_of(server)


def test_a_long_command_is_read_whole() -> None:
    assert len(words_of({"command": "npx", "args": [f"--{number}" for number in range(255)]})) == 256


@pytest.mark.parametrize(
    ("words", "program", "rest"),
    [
        (["/usr/local/bin/npx", "a"], "npx", ("a",)),
        ([r"C:\Program Files\nodejs\npx.cmd", "a"], "npx", ("a",)),
        (["NPX.EXE", "a"], "npx", ("a",)),
        (["npx -y a --flag"], "npx", ("-y", "a", "--flag")),
        (["npx -y", "a"], "npx", ("-y", "a")),
        (["npx -y a 'b c'"], "npx", ("-y", "a", "b c")),
        (["cmd", "/c", "npx", "-y", "a"], "npx", ("-y", "a")),
        (["cmd.exe", "/C", "uvx", "a"], "uvx", ("a",)),
        (["cmd", "/d", "/s", "/c", "npx a"], "npx", ("a",)),
        (["cmd", "/c npx a"], "npx", ("a",)),
        (["powershell.exe", "-Command", "npx -y a"], "npx", ("-y", "a")),
        (["powershell", "-NoProfile", "-ExecutionPolicy", "Bypass", "-c", "npx", "-y", "a"], "npx", ("-y", "a")),
        (["pwsh", "-Command", "& npx a"], "npx", ("a",)),
        (["bash", "-c", "npx -y a"], "npx", ("-y", "a")),
        (["/bin/zsh", "-lc", "exec npx -y a"], "npx", ("-y", "a")),
        (["sh", "-l", "-c", "uvx a"], "uvx", ("a",)),
        (["/usr/bin/env", "npx", "a"], "npx", ("a",)),
        (["env", "-S", "npx -y a"], "npx", ("-y", "a")),
        (["cmd", "/c", "powershell", "-c", "env npx a"], "npx", ("a",)),
        (["bash", "-c", "npx a --key ${KEY}"], "npx", ("a", "--key", "${KEY}")),
        # Only the shell itself could say what these start.
        (["bash", "-c", "npx a && rm -rf x"], "bash", ("-c", "npx a && rm -rf x")),
        (["bash", "-c", "cd x; npx a"], "bash", ("-c", "cd x; npx a")),
        (["sh", "-c", "npx $(a)"], "sh", ("-c", "npx $(a)")),
        (["sh", "-c", "npx a", "b"], "sh", ("-c", "npx a", "b")),
        (["sh", "-c", "npx 'a"], "sh", ("-c", "npx 'a")),
        (["powershell", "-File", "a.ps1"], "powershell", ("-File", "a.ps1")),
        (["powershell", "-Command", "npx $env:A"], "powershell", ("-Command", "npx $env:A")),
        ([r"C:\nodejs\npx.ps1", "-y", "a"], "npx", ("-y", "a")),
        (["wsl.exe", "npx", "-y", "a"], "npx", ("-y", "a")),
        (["wsl", "-d", "Debian", "-e", "bash", "-lc", "npx -y a"], "npx", ("-y", "a")),
        (["wsl", "--shutdown"], "wsl", ("--shutdown",)),
        (["cmd", "npx"], "cmd", ("npx",)),
        (["env", "-i", "npx", "a"], "env", ("-i", "npx", "a")),
        (["env"], "env", ()),
        # What comes after a name can be a key, and the name is shown.
        (["node server.js --token geheim"], "node", ()),
        (["/a/b/server.py --token geheim"], "server.py", ()),
    ],
)
def test_a_wrapper_is_taken_off(words: list[str], program: str, rest: tuple[str, ...]) -> None:
    assert unwrapped(words) == Command(program, rest)


def test_env_sets_variables() -> None:
    command = unwrapped(["env", "MODE=fast", "KEY=${KEY}", "npx", "a"])
    assert command == Command("npx", ("a",), {"MODE": "fast", "KEY": "${KEY}"})
    assert "fast" not in repr(command)


def test_numbers_among_variables_are_texts() -> None:
    assert variables_of({"env": {"PORT": 3000, "RATE": 1.5, "ON": True, "A": "b"}}) == {
        "PORT": "3000",
        "RATE": "1.5",
        "ON": "true",
        "A": "b",
    }


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ([1], "has an env that is no map"),
        ({"A": None}, "has null as env.A; write a text"),
        ({"A": ["x"]}, "has a list as env.A"),
        ({"A=B": "x"}, "a name that no variable can have"),
        ({f"A{number}": "x" for number in range(65)}, "an env of 65 variables, of which 64 are read"),
    ],
)
def test_variables_that_cannot_be_set_say_why(variables: object, why: str) -> None:
    with pytest.raises(LaunchError, match=why):
        variables_of({"env": variables})


@pytest.mark.parametrize(
    ("server", "folder"),
    [
        ({"command": "node", "args": ["${CLAUDE_PLUGIN_ROOT}/server.js"]}, "CLAUDE_PLUGIN_ROOT"),
        ({"command": "${CLAUDE_PLUGIN_ROOT}/server"}, "CLAUDE_PLUGIN_ROOT"),
        ({"command": "npx", "args": ["a"], "env": {"DATA": "${CLAUDE_PLUGIN_DATA}"}}, "CLAUDE_PLUGIN_DATA"),
        ({"command": "npx", "args": ["a", "${CLAUDE_PROJECT_DIR:-.}"]}, None),
        ({"command": "npx", "args": ["a", "${HOME}"]}, None),
    ],
)
def test_folders_that_only_claude_code_names_are_known(server: dict[str, object], folder: str | None) -> None:
    assert commands.claudes_folder(server) == folder


WORD = st.sampled_from(
    ["npx", "npx -y a", "cmd", "/c", "/s", "powershell", "-Command", "-c", "& npx a", "env", "-S", "A=b", "bash", "-lc"]
) | st.text(max_size=12)  # fmt: skip


@MANY
@given(st.fixed_dictionaries({}, optional={"command": WORD | JSON_VALUES, "args": st.lists(WORD | JSON_VALUES)}))
def test_any_entry_is_a_command_or_says_why(server: dict[str, object]) -> None:
    try:
        command = unwrapped(words_of(server))
    except LaunchError as error:
        assert str(error).isprintable()
        return
    # A name that is shown holds no word after it.
    assert len(command.program.split()) <= 1
