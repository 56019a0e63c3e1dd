"""Servers that speak stdio, as a runner could start them: by `npx` or `uvx`, from a package of a registry.

Nothing is started here. What is no plain package (a path, a repository, a shell's work) is no launch: a runner's
container holds nothing of this host, and what a word means to a shell must not matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from discovery.readers import expansion
from discovery.report import Launch
from reading import endpoints

PROGRAMS = ("npx", "uvx")
MAX_VARIABLES = 64

# A distribution with extras and one version, as `uvx` takes it: mcp-server-time, mcp[cli]==1.2, ruff@0.14.0
_DISTRIBUTION = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?(?:\[[A-Za-z0-9,._-]{1,100}\])?"
    r"(?:(?:==|@)[0-9][0-9A-Za-z.+!-]{0,63})?"
)
_BINARY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

_SILENT = ("-y", "--yes", "-q", "--quiet")
_PACKAGE_OPTIONS = {"npx": ("-p", "--package"), "uvx": ("--from",)}


class LaunchError(ValueError):
    """The command is nothing that a runner starts; the message says why."""


def launch_of(program: str, words: Sequence[str], variables: object, environment: Mapping[str, str]) -> Launch:
    """What `program words…` starts, with its own `variables`. Raises `LaunchError`."""
    called = _read(program, words)
    package, binary, arguments = called.package, called.binary, called.arguments
    texts = dict(variables_in(variables))
    # Literal texts can be keys: those stay in their file.
    pairs = tuple((name, taken) for name, text in texts.items() if (taken := expansion.variable_in(text)))
    taken_from = {name for text in (*arguments, *texts.values()) for name in expansion.names_in(text)}
    try:
        return Launch(
            program=program,
            package=package,
            variables=pairs,
            sets=tuple(sorted(texts)),
            takes=tuple(sorted(taken_from)),
            told=tuple(words) if not arguments and len(pairs) == len(texts) else None,
            binary=binary,
            arguments=tuple(expansion.expand(word, environment) for word in arguments),
            environment={name: expansion.expand(text, environment) for name, text in texts.items()},
        )
    except expansion.ExpansionError as error:
        raise LaunchError(f"its command {error}") from error


@dataclass(frozen=True)
class _Called:
    """A package, which of its programs, and that program's arguments."""

    package: str
    binary: str | None
    arguments: tuple[str, ...]


def _read(program: str, words: Sequence[str]) -> _Called:
    package: str | None = None
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option, separator, value = rest.pop(0).partition("=")
        if option in _PACKAGE_OPTIONS[program] and package is None and (separator or rest):
            package = value if separator else rest.pop(0)
        elif option not in _SILENT:
            raise LaunchError(f"runs {program} with an option that a runner does not take")
    if not rest and package is None:
        raise LaunchError(f"runs {program} without a package one can tell")
    binary = rest.pop(0) if package is not None and rest else None
    package = rest.pop(0) if package is None else package
    if not is_package(program, package):
        raise LaunchError(f"runs {program} without a package one can tell")
    if binary is not None and _BINARY.fullmatch(binary) is None:
        raise LaunchError(f"runs {program} with a program that has no plain name")
    return _Called(package, binary, tuple(rest))


def is_package(program: str, text: str) -> bool:
    """Whether `text` is a package of the registry that `program` asks: nothing a shell could read, no path, no URL."""
    return endpoints.is_package(text) if program == "npx" else _DISTRIBUTION.fullmatch(text) is not None


def is_variable(text: str) -> bool:
    """Whether `text` can be the name of an environment variable."""
    return _VARIABLE.fullmatch(text) is not None


def variables_in(variables: object) -> Iterator[tuple[str, str]]:
    """The names and texts of an `env`, nothing expanded. Raises `LaunchError`."""
    if variables is None:
        return
    if not isinstance(variables, dict) or len(variables) > MAX_VARIABLES:
        raise LaunchError(f"has an env that is no map of at most {MAX_VARIABLES} variables")
    for name, text in variables.items():
        if not isinstance(text, str) or not is_variable(str(name)):
            raise LaunchError("has an env with something other than variables and their texts")
        yield name, text


def file_text(launch: Launch) -> str:
    """The launch as the runner reads it (`images/runner/hosted.py`). Secret as a whole: arguments hold keys as well."""
    document = {
        "program": launch.program,
        "package": launch.package,
        "binary": launch.binary,
        "arguments": list(launch.arguments),
        "environment": dict(launch.environment),
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
