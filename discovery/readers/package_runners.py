"""Programs that start a package of a registry (`npx`, `uvx`, `bunx`, `pipx run`, …), read for which package that is.

All of npm's kind start the same packages, and all of Python's: a runner starts them as `npx` and `uvx` would. What is
no package of the registry (a repository, a path, an address), and what chooses another registry, is refused with what
to do. Options: `npx --help`, `npm help exec`, `pnpm help dlx`, `yarn dlx --help`, `bunx --help`, `uvx --help`,
`uv run --help`, `pipx run --help`, in the versions of November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from discovery.readers.commands import Command, LaunchError

_MAX_PACKAGE = 214  # npm's own limit for a name

_NPM_NAME = r"(?:@[A-Za-z0-9~][A-Za-z0-9._~-]*/)?[A-Za-z0-9~_][A-Za-z0-9._~-]*"
_NPM_VERSION = r"v?[0-9xX*]{1,10}(?:\.[0-9xX*]{1,10}){0,2}(?:[-+][0-9A-Za-z.+-]{1,40})?"
_NPM_COMPARATOR = rf"(?:[~^]|[<>]=?|=)?{_NPM_VERSION}"
# A tag (latest), a version, or a range of them: ^1.2, >=1 <2, 1.2 - 2, 1 || 2. Spaces only stand between its parts.
_NPM_RANGE = rf"{_NPM_COMPARATOR}(?:(?: - | \|\| | ){_NPM_COMPARATOR}){{0,5}}"
_NPM = re.compile(rf"({_NPM_NAME})(?:@(?:[0-9A-Za-z][0-9A-Za-z.+-]{{0,63}}|{_NPM_RANGE}))?")

_DISTRIBUTION = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
_EXTRAS = r"(?:\[[A-Za-z0-9,._-]{1,100}\])?"
_SPECIFIER = r"(?:===|==|~=|!=|<=|>=|<|>)[0-9][0-9A-Za-z.*+!-]{0,63}"
# mcp-server-time, mcp[cli]==1.2, ruff@0.14.0, a@latest, a>=1,<2
_PYTHON = re.compile(
    rf"({_DISTRIBUTION}){_EXTRAS}(?:@(?:latest|[0-9][0-9A-Za-z.+!-]{{0,63}})|{_SPECIFIER}(?:,{_SPECIFIER}){{0,7}})?"
)
# Both npm and uv take a name with such an end for a file.
_ARCHIVES = (".whl", ".tgz", ".tar", ".tar.gz", ".zip")
_BINARY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_OPTION_NAME = re.compile(r"--?[a-z][a-z-]{0,30}")
_PYTHON_REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.@+-]{0,40}|[0-9<>=!~.,*]{1,40}")
_INSTALLER_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+-]{0,40}")

_ANOTHER_REGISTRY = "chooses another npm registry; set npmRegistry of the stack instead"
_ANOTHER_INDEX = "chooses another Python index; set pythonIndex of the stack instead"
_HOSTS_PATH = "names a path of this host, which a runner does not have; take it out, or name a published package"
_SHELLS = "has a line for a shell, which a runner has none for; name the package and its program"
_NODES = "sets options of Node's own; take them out"
_BUNS = "asks for Bun itself, and the runner has Node.js; take --bun out"


@dataclass(frozen=True)
class _Grammar:
    """What the options before the package mean. `starts_like` is `npx` or `uvx`.

    `package`, `beside` and `python` take a value; so do `valued`, which like `flags` change nothing for a runner.
    `passed` are for the installer. `refused` says why an option can't be followed. With one of `local`, what is started
    lies on this host.
    """

    starts_like: str
    flags: frozenset[str]
    valued: frozenset[str] = frozenset()
    package: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    python: frozenset[str] = frozenset()
    passed: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    local: frozenset[str] = frozenset()

    @property
    def with_value(self) -> frozenset[str]:
        return self.valued | self.package | self.beside | self.python | self.passed

    def knows(self, option: str) -> bool:
        return option in self.flags or option in self.with_value or option in self.refused or option in self.local


def _all(*names: str) -> frozenset[str]:
    return frozenset(name for text in names for name in text.split())


_NPM_REFUSED = {
    **dict.fromkeys(_all("--registry --userconfig --globalconfig --config"), _ANOTHER_REGISTRY),
    **dict.fromkeys(_all("--prefix -C --dir --cwd --workspace -w"), _HOSTS_PATH),
    **dict.fromkeys(_all("-c --call --shell --shell-mode --script-shell"), _SHELLS),
    **dict.fromkeys(_all("--node-options -n --node-arg"), _NODES),
    "--bun": _BUNS,
}
_ANOTHER_INDEX_BY = _all(
    "--index-url -i --extra-index-url --index --default-index --find-links -f --no-index --index-strategy",
    "--keyring-provider --allow-insecure-host --config-file --pip-args",
)
_UV_REFUSED = {
    **dict.fromkeys(_ANOTHER_INDEX_BY, _ANOTHER_INDEX),
    **dict.fromkeys(
        _all(
            "--with-editable --with-requirements --env-file --directory --project --overrides --constraints -c -b",
            "--build-constraints",
        ),
        _HOSTS_PATH,
    ),
}
_QUIET = "-q --quiet -s --silent -d --verbose -v"
_UV_FLAGS = _all(
    _QUIET,
    "--isolated --refresh --upgrade -U --no-cache -n --no-cache-dir --no-progress --no-config --offline",
    "--no-env-file --native-tls --system-certs --no-python-downloads --managed-python --no-managed-python --no-project",
    "--no-sync --active --exact --frozen --locked --compile-bytecode",
)
_UV_VALUED = _all("--color --refresh-package --upgrade-package -P --cache-dir --link-mode --python-preference")
_UV_PASSED = _all("--prerelease --resolution --exclude-newer")

_NPX = _Grammar(
    "npx",
    flags=_all(
        "-y --yes --no-yes --prefer-offline --prefer-online --offline --ignore-existing --no-audit --no-fund",
        "--no-update-notifier --ignore-scripts --legacy-peer-deps --force",
        _QUIET,
    ),
    valued=_all("--loglevel --cache"),
    package=_all("-p --package"),
    refused=_NPM_REFUSED,
)
_UVX = _Grammar(
    "uvx",
    flags=_UV_FLAGS,
    valued=_UV_VALUED,
    package=_all("--from"),
    beside=_all("--with -w"),
    python=_all("-p --python"),
    passed=_UV_PASSED,
    refused=_UV_REFUSED,
)
# `uv run` starts a project's own program, or that of a package that comes by --with.
_UV_RUN = _Grammar(
    "uvx",
    flags=_UV_FLAGS,
    valued=_UV_VALUED,
    package=_all("--with -w"),
    python=_all("-p --python"),
    passed=_UV_PASSED,
    refused=dict.fromkeys(_ANOTHER_INDEX_BY, _ANOTHER_INDEX),
    local=_all(
        "--with-editable --with-requirements --env-file --directory --project -m --module -s --script --gui-script",
        "--extra --all-extras --group --only-group --all-groups --dev --no-dev --only-dev --package --all-packages",
    ),
)
_PIPX = _Grammar(
    "uvx",
    flags=_all(_QUIET, "--no-cache --fetch-missing-python --pypackages --global --system-site-packages"),
    package=_all("--spec"),
    beside=_all("--with"),
    python=_all("--python"),
    refused={**_UV_REFUSED, "--path": _HOSTS_PATH},
)
# Deno starts packages of npm as well, by `npm:PACKAGE`; anything else that it runs is a script's path or address.
_DENO = _Grammar(
    "npx",
    flags=_all(
        _QUIET,
        "-A --allow-all --allow-net -N --allow-env -E --allow-read -R --allow-write -W --allow-run --allow-sys -S",
        "--allow-ffi --allow-import -I --allow-scripts --no-prompt --no-lock --no-check --node-modules-dir",
    ),
)
# How each program says "start a package": the words before its options, where it has such.
_SUBCOMMANDS: Mapping[str, Mapping[tuple[str, ...], _Grammar]] = {
    "npx": {(): _NPX},
    "npm": {("exec",): _NPX, ("x",): _NPX},
    "pnpm": {("dlx",): _NPX},
    "pnpx": {(): _NPX},
    "yarn": {("dlx",): _NPX},
    "bunx": {(): _NPX},
    "bun": {("x",): _NPX},
    "deno": {("run",): _DENO},
    "uvx": {(): _UVX},
    "uv": {("tool", "run"): _UVX, ("x",): _UVX, ("run",): _UV_RUN},
    "pipx": {("run",): _PIPX},
}


@dataclass(frozen=True)
class Called:
    """A package of a registry, started as by `program` (`npx` or `uvx`), and which of its own programs.

    `beside` are packages that are installed with it, `python` is the version of Python that was asked for, `options`
    are the installer's (`--prerelease=allow`), `arguments` its program's.
    """

    program: str
    package: str
    binary: str | None = None
    arguments: tuple[str, ...] = field(default=(), repr=False)
    beside: tuple[str, ...] = ()
    python: str | None = None
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The package without its version."""
        return name_of(self.program, self.package)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word after `program` that starts this, its arguments aside."""
        if self.program == "npx":
            packages = [word for package in (self.package, *self.beside) for word in ("--package", package)]
            return ("-y", *packages, self.binary) if self.binary else ("-y", self.package)
        more = [word for package in self.beside for word in ("--with", package)]
        python = ["--python", self.python] if self.python else []
        if not self.binary:
            return (*self.options, *python, *more, self.package)
        return (*self.options, *python, "--from", self.package, *more, self.binary)


def read(command: Command) -> Called | None:
    """The package that `command` starts; None for what is no such program. Raises `LaunchError`."""
    before: list[str] = []
    words = list(command.words)
    for subcommand, grammar in _SUBCOMMANDS.get(command.program, {}).items():
        # pnpm and npm take options before their subcommand as well: `pnpm --silent --package=a dlx b`.
        if subcommand and grammar is _NPX:
            while words and words[0].startswith("-") and subcommand[0] in words:
                before.append(words.pop(0))
        if tuple(words[: len(subcommand)]) == subcommand:
            return _Reading(_shown(command.program, subcommand), grammar).read([*before, *words[len(subcommand) :]])
    return None


def _shown(program: str, subcommand: Sequence[str]) -> str:
    return " ".join((program, *subcommand))


class _Reading:
    """One command's words, read from left to right. `shown` is what started them, as messages say it."""

    def __init__(self, shown: str, grammar: _Grammar) -> None:
        self._shown, self._grammar = shown, grammar
        self._packages: list[str] = []
        self._beside: list[str] = []
        self._options: list[str] = []
        self._python: str | None = None

    def read(self, words: Sequence[str]) -> Called | None:
        """The package; None where it lies on this host. Raises `LaunchError`."""
        rest = list(words)
        while rest and rest[0].startswith("-") and rest[0] != "--":
            if not self._option(rest):
                return None
        if rest[:1] == ["--"]:
            rest.pop(0)
        if self._grammar is _UV_RUN and (not self._packages or _is_a_script(rest)):
            return None
        if self._grammar is _DENO:
            if not rest or not rest[0].startswith("npm:"):
                return None
            rest[0] = rest[0].removeprefix("npm:").lstrip("/")
        if not rest and not self._packages:
            raise self._refused("without a package one can tell; name it")
        # Windows' name of a program is its own with an end.
        binary = re.sub(r"(?i)\.exe$", "", rest.pop(0)) if self._packages and rest else None
        if binary is not None and _BINARY.fullmatch(binary) is None:
            raise self._refused("with a program that has no plain name; write it as its package calls it")
        packages = [self._package(text) for text in self._packages or [rest.pop(0)]]
        # Of several packages the one that is called as its program is what runs; the others come along.
        foremost = next((package for package in packages if self._is_called(package, binary)), packages[0])
        packages.remove(foremost)
        return Called(
            program=self._grammar.starts_like,
            package=foremost,
            binary=binary,
            arguments=tuple(rest),
            beside=(*packages, *map(self._package, self._beside)),
            python=self._python,
            options=tuple(self._options),
        )

    def _option(self, rest: list[str]) -> bool:
        """Take one option off `rest`; False where it says that what is started lies on this host."""
        grammar = self._grammar
        option, separator, value = rest.pop(0).partition("=")
        if re.fullmatch(r"-[A-Za-z]{2,6}", option) and all(grammar.knows(f"-{letter}") for letter in option[1:]):
            # -yp is -y -p
            rest[:0] = [f"-{letter}" for letter in option[1:-1]]
            rest.insert(len(option) - 2, f"-{option[-1]}{separator}{value}")
            return True
        if option in grammar.local or (grammar in (_UV_RUN, _DENO) and not grammar.knows(option)):
            return False
        if option in grammar.refused:
            raise LaunchError(f"{self._shown} {option} {grammar.refused[option]}")
        if not grammar.knows(option):
            named = option if _OPTION_NAME.fullmatch(option) else "an option"
            raise self._refused(f"with {named}, which a runner does not know; take it out")
        if option in grammar.flags:
            return True
        if not separator:
            if not rest:
                raise self._refused(f"with {option} and nothing after it; write its value")
            value = rest.pop(0)
        self._take(option, value)
        return True

    def _take(self, option: str, value: str) -> None:
        grammar = self._grammar
        if option in grammar.package:
            self._packages += _split(value) if grammar is _UV_RUN else [value]
        elif option in grammar.beside:
            self._beside += _split(value)
        elif option in grammar.python:
            if _PYTHON_REQUEST.fullmatch(value) is None:
                raise LaunchError(f"{self._shown} {option} {_HOSTS_PATH}")
            self._python = value
        elif option in grammar.passed:
            if _INSTALLER_VALUE.fullmatch(value) is None:
                raise self._refused(f"with {option} and a value that is no plain word; correct it")
            self._options.append(f"{option}={value}")

    def _package(self, text: str) -> str:
        """`text` as a package of the registry, in the form that its installer takes. Raises `LaunchError`."""
        starts_like = self._grammar.starts_like
        if package := package_in(starts_like, text):
            return package
        raise self._refused(_why_no_package(starts_like, text))

    def _is_called(self, package: str, binary: str | None) -> bool:
        return binary == name_of(self._grammar.starts_like, package).rpartition("/")[2]

    def _refused(self, why: str) -> LaunchError:
        return LaunchError(f"runs {self._shown} {why}")


def package_in(program: str, text: str) -> str | None:
    """`text` as one package of the registry that `program` (`npx`, `uvx`) asks; None for anything else.

    Nothing in it means anything to a shell but the signs of a range of versions (`^1.2`, `>=1 <2`).
    """
    if text.lower().endswith(_ARCHIVES):
        return None
    if program == "npx":
        tidy = re.sub(r"(?<=[@<>=~^]) +", "", re.sub(r" +", " ", text)) if len(text) <= _MAX_PACKAGE else ""
        return tidy if _NPM.fullmatch(tidy) else None
    tidy = text.replace(" ", "") if len(text) <= _MAX_PACKAGE else ""
    return tidy if _PYTHON.fullmatch(tidy) else None


def name_of(program: str, package: str) -> str:
    """The name of a package without extras and version."""
    match = (_NPM if program == "npx" else _PYTHON).fullmatch(package)
    return match[1] if match else package


def _why_no_package(starts_like: str, text: str) -> str:
    if "${" in text:
        return "with a package that a variable names; write the package out"
    if re.match(r"(?:[a-z0-9._-]+ *@ *)?(?:git\+|git://|git@|github:|gitlab:|bitbucket:|gist:)", text, re.IGNORECASE):
        return "from a repository, and a runner takes packages of a registry; name its published package"
    if re.search(r"[a-z]://", text, re.IGNORECASE):
        return "from an address, and a runner takes packages of a registry; name its published package"
    if re.match(r"[.~]{0,2}[/\\]|\.{1,2}$|~|[A-Za-z]:[/\\]|file:|link:", text) or text.lower().endswith(_ARCHIVES):
        return "from a path of this host, which a runner does not have; name its published package"
    if re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(?:#.*)?", text):
        of_npm = starts_like == "npx"
        return f"from {'a repository' if of_npm else 'a folder'}, and a runner takes packages of a registry; name one"
    return "without a package one can tell; write NAME or NAME@VERSION as its registry knows it"


def _split(value: str) -> list[str]:
    """`a,b>=1,<2,c[d,e]` as uv reads it: a comma before a name, outside of brackets, begins another package."""
    return [part.strip() for part in re.split(r",(?=\s*[A-Za-z])(?![^\[]*\])", value)]


def _is_a_script(words: Sequence[str]) -> bool:
    """Whether what `uv run` would start is a file of this host, or the interpreter for one."""
    if not words or words[0].startswith("python"):
        return True
    return any(re.search(r"\.pyw?(?::|$)", word) for word in words) or "/" in words[0] or "\\" in words[0]
