"""The command of an entry in an `mcpServers` document: its words, and what is left once wrappers are taken off.

Nothing is run here. A line that only a shell could read (`a && b`, `$(a)`) stays its shell's, and so a command of this
host.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from discovery.readers import expansion
from reading.text import one_line

MAX_WORDS = 256
MAX_VARIABLES = 64
_MAX_WRAPPERS = 8
# JavaScript writes numbers from here on with an exponent, and Python reads them as such.
_LARGE = 1e21

WRAPPERS = ("cmd", "powershell", "pwsh", "sh", "bash", "zsh", "env", "wsl")
STARTERS = ("npx", "npm", "pnpm", "pnpx", "yarn", "bun", "bunx", "uvx", "uv", "pipx", "deno", "docker", "podman")

# What Claude Code fills in for the servers of its plugins (code.claude.com/docs/en/mcp, plugins-reference).
CLAUDES_FOLDERS = ("CLAUDE_PLUGIN_ROOT", "CLAUDE_PLUGIN_DATA", "CLAUDE_PROJECT_DIR")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,127})=(.*)", re.DOTALL)
_SHELLS_WORK = re.compile(r"[;&|<>()$`\n\r!*?{}%#]")
_POWERSHELL_FLAGS = ("-noprofile", "-nop", "-noninteractive", "-nologo", "-noexit", "-mta", "-sta")
_POWERSHELL_VALUED = ("-executionpolicy", "-ep", "-ex", "-windowstyle", "-w")


class LaunchError(ValueError):
    """The command is nothing that a runner, or this host, starts; the message says why, and what to do."""


@dataclass(frozen=True)
class Command:
    """A program by its name alone (lower case, without `.exe`), the words that follow, and variables set before it."""

    program: str
    words: tuple[str, ...] = field(repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def words_of(server: Mapping[str, object]) -> tuple[str, ...]:
    """`command` and `args` of an entry, as one list of texts, nothing expanded. Raises `LaunchError`."""
    command, args = server.get("command"), server.get("args")
    first = command if isinstance(command, list) else [command]
    if isinstance(args, str):
        raise LaunchError('has args that are one text, not a list; write them as ["-y", "PACKAGE"]')
    if args is not None and not isinstance(args, list):
        raise LaunchError("has args that are no list; write a list of texts")
    given = [*first, *(args or ())]
    if len(given) > MAX_WORDS:
        raise LaunchError(f"has {len(given)} words, of which {MAX_WORDS} are read; shorten it")
    words = tuple(text_of(value, f"word {place} of its command") for place, value in enumerate(given, 1))
    if not words or not words[0].strip():
        raise LaunchError("has no command; name its program")
    return words


def text_of(value: object, what: str) -> str:
    """A text, or a number or boolean as JSON writes it (`3000`, `1.5`, `true`). Raises `LaunchError` for all else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) < _LARGE:
        return str(value)
    if isinstance(value, float) and abs(value) < _LARGE:
        return str(int(value)) if value.is_integer() else repr(value)
    raise LaunchError(f"has {_kind(value)} as {what}; write a text")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case list():
            return "a list"
        case dict():
            return "a map"
        case _:
            return "a number that is none, or too large,"


def variables_of(server: Mapping[str, object]) -> dict[str, str]:
    """The names and texts of an entry's `env`, nothing expanded. Raises `LaunchError`."""
    variables = server.get("env")
    if variables is None:
        return {}
    if not isinstance(variables, dict):
        raise LaunchError("has an env that is no map; write a map of variables to texts")
    if len(variables) > MAX_VARIABLES:
        raise LaunchError(f"has an env of {len(variables)} variables, of which {MAX_VARIABLES} are read; shorten it")
    for name in variables:
        if not is_variable(str(name)):
            raise LaunchError("has an env with a name that no variable can have; write letters, digits and _")
    return {str(name): text_of(value, f"env.{one_line(str(name), 60)}") for name, value in variables.items()}


def is_variable(text: str) -> bool:
    """Whether `text` can be the name of an environment variable."""
    return _VARIABLE.fullmatch(text) is not None


def texts_in(server: Mapping[str, object]) -> Iterator[str]:
    """Every text of an entry's `command`, `args` and `env`: what may refer to variables of this machine."""
    for part in (server.get("command"), server.get("args"), server.get("env")):
        values = part.values() if isinstance(part, dict) else part if isinstance(part, list) else (part,)
        yield from (value for value in values if isinstance(value, str))


def claudes_folder(server: Mapping[str, object]) -> str | None:
    """The folder that only Claude Code could fill in, where the command can't do without one."""
    return next(
        (name for text in texts_in(server) for name in expansion.needed_in(text) if name in CLAUDES_FOLDERS), None
    )


def unwrapped(words: Sequence[str]) -> Command:
    """The command that `words` come to, out of `cmd /c`, `powershell -Command`, `wsl`, `env`, `bash -c` or one text."""
    command = _command(words, {})
    for _ in range(_MAX_WRAPPERS):
        inner = _inner(command)
        if inner is None:
            break
        command = inner
    return command


def _command(words: Sequence[str], variables: Mapping[str, str]) -> Command:
    first, *rest = words
    # "npx -y foo" as one text. A path with spaces (C:\Program Files\nodejs\npx.cmd) begins with no program we know.
    split = (
        _simple_line(first) if " " in first.strip() and _name_of(first.split()[0]) in (*WRAPPERS, *STARTERS) else None
    )
    if split:
        first, rest = split[0], [*split[1:], *rest]
    return Command(_name_of(first), tuple(rest), variables)


def _inner(command: Command) -> Command | None:
    """What a wrapper starts; None for what is no wrapper, or where only the wrapper itself could tell."""
    words = list(command.words)
    match command.program:
        case "cmd":
            while words and words[0].lower() in ("/s", "/d", "/q"):
                words.pop(0)
            if words and words[0].lower().startswith("/c "):
                words[:1] = [words[0][:2], words[0][3:]]
            inner = words[1:] if words and words[0].lower() in ("/c", "/k") else None
        case "powershell" | "pwsh":
            inner = _of_powershell(words)
        case "sh" | "bash" | "zsh":
            while len(words) > 1 and words[0] in ("-l", "-i", "--login"):
                words.pop(0)
            one_line_only = len(words) == 2 and re.fullmatch(r"-[li]*c", words[0])
            inner = _simple_line(words[1].removeprefix("exec ")) if one_line_only else None
        case "env":
            return _of_env(command)
        case "wsl":
            if len(words) > 2 and words[0] in ("-d", "--distribution"):
                del words[:2]
            if words and words[0] in ("-e", "--exec", "--"):
                del words[0]
            inner = words if words and not words[0].startswith("-") else None
        case _:
            return None
    return _command(inner, command.variables) if inner else None


def _of_powershell(words: list[str]) -> list[str] | None:
    while words and words[0].lower() in (*_POWERSHELL_FLAGS, *_POWERSHELL_VALUED):
        del words[: 2 if words[0].lower() in _POWERSHELL_VALUED else 1]
    if not words or words[0].lower() not in ("-command", "-c"):
        return None
    # PowerShell joins what follows to one line, and `&` calls a program.
    return _simple_line(" ".join(words[1:]).removeprefix("& "))


def _of_env(command: Command) -> Command | None:
    words, variables = list(command.words), dict(command.variables)
    while words:
        if words[0] in ("-S", "--split-string") and len(words) > 1:
            words[:2] = _simple_line(words[1]) or [""]
        elif assignment := _ASSIGNMENT.fullmatch(words[0]):
            variables[assignment[1]] = assignment[2]
            words.pop(0)
        else:
            break
    return _command(words, variables) if words and words[0] and not words[0].startswith("-") else None


def _simple_line(line: str) -> list[str] | None:
    """The words of a line that any shell reads alike; None where it means more than words."""
    without_references = re.sub(r"\$\{[^}]*\}", "", line)
    if _SHELLS_WORK.search(without_references):
        return None
    try:
        return shlex.split(line) or None
    except ValueError:
        return None


def _name_of(command: str) -> str:
    name = PurePosixPath(command.replace("\\", "/")[:4096]).name.lower()
    # Words after it can be keys, and a name is shown.
    return re.sub(r"\.(?:exe|cmd|bat|ps1)$", "", "".join(name.split()[:1]))
