"""What is written where: defaults, stack file, environment, `.env` and Pulumi's engine, each value with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog import FINDABLE, PROJECT
from errors import ConfigError
from reading import env_file, safe_files, strict_yaml
from reading.text import bounded, one_line
from settings.config import TUNING, VARIABLES, StackConfig
from settings.git_tracking import Tracking, tracking
from settings.secrets import SECRET_KEYS
from settings.stack_files import PULUMIS_OWN, StackFiles, is_encrypted, is_foreign, stack_files

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


# Secrets that stand nowhere in the open; a key to a certificate may be a file's name.
_NEVER_OPEN = frozenset(SECRET_KEYS) - {"tlsKey"}


@dataclass(frozen=True)
class Value:
    """A configured value and where it was written (`file:line`), for error messages."""

    value: Any
    where: str


_MAX_BYTES = 64 * 1024
_MAX_DOTENV_BYTES = 256 * 1024  # other programs keep certificates and whole documents in theirs


def read_file(root: Path, file: str, max_bytes: int = _MAX_BYTES) -> bytes | None:
    """A file of the project's, or None where there is none; never a pipe, never more than `max_bytes`."""
    try:
        return safe_files.read_file(root / file, safe_files.Rules(max_bytes=max_bytes))
    except safe_files.UnsafeFile as error:
        raise ConfigError(f"{file}:1: file: {error}; replace it by a plain file") from error


DOTENV = ".env"
_ADDRESSES = frozenset(variable for service in FINDABLE.values() for variable in service.variables)
# What a service of the stack's, or a key of its configuration, is told by.
_USED = frozenset(VARIABLES) | _ADDRESSES
_COMMITTED = {
    Tracking.TRACKED: ".env is committed in this repository; set it in the environment, or, if you wrote .env, run "
    "`git rm --cached .env`",
    Tracking.UNKNOWN: ".env may be committed, for .git/index cannot be read; set it in the environment, or mend the "
    "index (git status)",
}
_NAMES_SHOWN = 2


@dataclass(frozen=True)
class Committed:
    """What is left of a `.env` that came with the repository, or may have: `addresses` of services, by variable.

    They are good for this machine's loopback. `why` says why for no other, and what to do.
    """

    addresses: Mapping[str, str] = field(default_factory=dict, repr=False)
    why: str = ""


@dataclass(frozen=True)
class Environment:
    """The process environment over the project's `.env`; `origins` says for each name which.

    `lines` has the line of each variable of `.env`; `taken` names the environment's variables that one of `.env` is
    made of; `warnings` say what is wrong with lines that nobody needs here. Of a `.env` that git tracks `values` has
    what tunes the stack, and `committed` the addresses.
    """

    values: Mapping[str, str]
    origins: Mapping[str, str]
    lines: Mapping[str, int]
    taken: Mapping[str, frozenset[str]]
    warnings: tuple[str, ...]
    committed: Committed = field(default_factory=Committed)

    def where(self, name: str) -> str:
        """Where a variable is written, for an error."""
        return f"{DOTENV}:{self.lines[name]}" if self.origins[name] == DOTENV else f"environment: {name}"


def read_environment(root: Path, environ: Mapping[str, str]) -> Environment:
    """Read `.env` below `environ`. Raises `ConfigError` for a line that can't be read and is needed here."""
    # What is no UTF-8 is the problem of the line that it stands in.
    data = read_file(root, DOTENV, _MAX_DOTENV_BYTES) or b""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{DOTENV}:1: file: is UTF-16; save it as UTF-8 text")
    read = env_file.parse(data.decode("utf-8", "surrogateescape"), environ)
    own = {name: variable for name, variable in read.variables.items() if name not in environ}
    told = {problem: f"{DOTENV}:{problem.line}: {problem.name or '?'}: {problem.what}" for problem in read.problems}
    why = _COMMITTED.get(tracking(root / DOTENV), "") if own else ""
    # Whoever pushed last wrote it: an address or a key of theirs, or a value in somebody's entry, would lead elsewhere.
    counting = {name: variable for name, variable in own.items() if not why or name in TUNING}
    needed = [
        line
        for problem, line in told.items()
        if problem.is_broken and problem.name in (TUNING if why else _USED) - environ.keys()
    ]
    if needed:
        raise ConfigError("\n".join(needed))
    warnings = [line for problem, line in told.items() if problem.name not in environ]
    refused = [name for name in own if name not in counting and name not in _ADDRESSES and own[name].value]
    if refused:
        # Those first that mean something here.
        refused.sort(key=lambda name: name not in _USED)
        warnings.append(f"{DOTENV}:{own[refused[0]].line}: {_first(refused)}: not read: {why}")
    return Environment(
        values={name: variable.value for name, variable in counting.items()} | dict(environ),
        origins=dict.fromkeys(counting, DOTENV) | dict.fromkeys(environ, "environment"),
        lines={name: variable.line for name, variable in own.items()},
        taken={name: variable.takes for name, variable in own.items() if variable.takes},
        warnings=bounded(warnings, DOTENV),
        committed=Committed({name: own[name].value for name in _ADDRESSES & own.keys()}, why) if why else Committed(),
    )


def _first(names: list[str]) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(one_line(name, 40) for name in names[:_NAMES_SHOWN]) + more


def _read_yaml(root: Path, file: str) -> strict_yaml.Document | None:
    data = read_file(root, file)
    if data is None:
        return None
    document = strict_yaml.read(data)
    if document.problems:
        raise ConfigError("\n".join(_yaml_problem(file, problem) for problem in document.problems))
    return document


def _yaml_problem(file: str, problem: strict_yaml.Problem) -> str:
    key = ".".join(str(part) for part in problem.path) or "file"
    return f"{file}:{problem.line}: {key}: {problem.what}"


def _section(document: strict_yaml.Document, file: str) -> dict[str, Any]:
    """The `config` map of a Pulumi file; empty where it has none."""
    config = document.value.get("config") if isinstance(document.value, dict) else None
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise ConfigError(f"{file}:{document.line(('config',))}: config: must be a map; write `key: value` lines")
    return config


PROGRAM = Path(__file__).resolve().parents[1]
_OUR_KEY = re.compile(rf"^[ \t]+[\"']?{PROJECT}:".encode(), re.MULTILINE)


_OUR_NAME = re.compile(rb"^name:[ \t]*[\"']?" + PROJECT.encode() + rb"[\"']?[ \t]*\r?$", re.MULTILINE)


def is_ours(root: Path) -> bool:
    """Whether `root` holds a `Pulumi.yaml` of this project, and no other one or none."""
    return _OUR_NAME.search(read_file(root, "Pulumi.yaml") or b"") is not None


def is_own_checkout(root: Path) -> bool:
    """Whether `root` is the folder that this program runs from: who can write there can change the program itself."""
    return root.resolve() == PROGRAM


def unread_stack_file(root: Path, stack: str) -> tuple[str, ...]:
    """The warning that a stack file of another folder does not count, where it would say something of ours."""
    file = stack_files(root, stack).committed
    try:
        data = safe_files.read_file(root / file, safe_files.Rules(max_bytes=_MAX_BYTES)) or b""
    except safe_files.UnsafeFile:
        return ()
    if _OUR_KEY.search(data) is None:
        return ()
    return (
        f"{file}:1: file: not read, because this folder is not the program's own checkout; if you have reviewed it, "
        "name the folder with --root",
    )


def read_defaults(root: Path) -> dict[str, Value]:
    """The defaults that `Pulumi.yaml` declares, so that they are written in one place only."""
    document = _read_yaml(root, "Pulumi.yaml")
    if document is None:
        raise ConfigError("Pulumi.yaml:1: file: is missing; run this in the project's folder, or name it with --root")
    return {
        key: Value(entry["default"], f"Pulumi.yaml:{document.line(('config', key))}")
        for key, entry in _section(document, "Pulumi.yaml").items()
        if isinstance(entry, dict) and "default" in entry
    }


def read_stack_files(root: Path, files: StackFiles, overrides: Mapping[str, str]) -> dict[str, Value]:
    """What the stack's files say in our namespace: this machine's own over the committed one, maps entry by entry.

    Raises `ConfigError` for what stands in the committed file for Pulumi, and neither where Pulumi reads nor in
    `overrides`.
    """
    committed, own = _read_yaml(root, files.committed), _read_yaml(root, files.own)
    if files.own == files.committed or committed is None:
        return _ours(own, files.own)
    problems = [
        f"{files.committed}:{committed.line(place)}: {place[-1]}: Pulumi does not read this here, for `stackConfigDir` "
        f"in Pulumi.yaml names {files.folder}; {cure}"
        for place, cure in _unread(_document(committed), _document(own), overrides, files)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    values = _ours(committed, files.committed)
    for key, value in _ours(own, files.own).items():
        below = values.get(key)
        if below and _is_map(below.value) and _is_map(value.value):
            value = Value({**below.value, **value.value}, value.where)
        values[key] = value
    return values


def _is_map(value: Any) -> bool:
    return isinstance(value, dict) and not is_encrypted(value)


def _document(read: strict_yaml.Document | None) -> Mapping[str, Any]:
    return read.value if read and isinstance(read.value, dict) else {}


def _unread(
    committed: Mapping[str, Any], own: Mapping[str, Any], overrides: Mapping[str, str], files: StackFiles
) -> Iterator[tuple[tuple[str, ...], str]]:
    """What the committed file says to Pulumi alone, unless the file that Pulumi does read says it, too."""
    move = f"run make up, which copies it to {files.own}, or move it there"
    for key in PULUMIS_OWN:
        if key in committed and key not in own:
            yield (key,), move
    config, there = committed.get("config"), own.get("config")
    there = {**overrides, **(there if isinstance(there, dict) else {})}
    for key, value in (config if isinstance(config, dict) else {}).items():
        if is_encrypted(value):
            if key not in there:
                yield ("config", key), move
        elif is_foreign(key):
            if there.get(key) != value:
                yield ("config", key), f"set it there: pulumi config set --stack {files.stack} {key} …"
        elif (short := key.removeprefix(f"{PROJECT}:")) in _NEVER_OPEN and key not in there:
            yield ("config", key), f"take it out and: pulumi config set --stack {files.stack} --secret {short}"


def _ours(document: strict_yaml.Document | None, name: str) -> dict[str, Value]:
    """The values in our namespace; another namespace is its provider's to check."""
    if document is None:
        return {}
    prefix = f"{PROJECT}:"
    return {
        key.removeprefix(prefix): Value(
            _as_written(key.removeprefix(prefix), value), f"{name}:{document.line(('config', key))}"
        )
        for key, value in _section(document, name).items()
        if key.startswith(prefix)
    }


def _as_written(key: str, value: Any) -> Any:
    """The value, or what it says where it is text: `pulumi config set` writes every plain value in quotes."""
    defined = StackConfig.model_fields.get(_snake(key))
    if not isinstance(value, str) or defined is None:
        return value
    if defined.annotation is bool:
        return {"true": True, "false": False}.get(value, value)
    return _number(value) if defined.annotation in (int, int | None) else value


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def from_engine(
    overrides: Mapping[str, str], written: dict[str, Value], defaults: Mapping[str, Value]
) -> dict[str, str]:
    """Take over what the engine knows better: another config file's values, and decrypted secrets (returned)."""
    secrets = {}
    for full_key, text in overrides.items():
        key = full_key.removeprefix(f"{PROJECT}:")
        if key == full_key:
            continue
        if key in SECRET_KEYS:
            secrets[key] = text
            continue
        value = _from_text(text, defaults[key].value if key in defaults else "")
        if key not in written and key in defaults and value != defaults[key].value:
            written[key] = Value(value, "pulumi config")
    return secrets


def _from_text(text: str, like: Any) -> Any:
    """A configuration text as the type of `like`, or the text itself where it is not one."""
    if isinstance(like, str):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def from_environment(environment: Environment) -> dict[str, Value]:
    """The values that variables give to keys of the configuration."""
    values = {}
    for variable, key in VARIABLES.items():
        text = environment.values.get(variable, "").strip()
        if text and key not in SECRET_KEYS:
            values[key] = Value(_typed(key, text), environment.where(variable))
    return values


def _typed(key: str, text: str) -> Any:
    """A variable's text as the type its key has; a text that is no such type is left for the validator to refuse."""
    kind = StackConfig.model_fields[_snake(key)].annotation
    if kind is bool:
        return _BOOLEANS.get(text.lower(), text)
    if kind in (int, int | None):
        return _number(text)
    return text.upper() if key == "logLevel" else text


def _snake(key: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower()
