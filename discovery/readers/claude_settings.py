"""What Claude Code's settings say of MCP servers: rejected, switched off, denied, allowed, approved.

Facts (Claude Code's documentation, "Settings" and "Managed MCP configuration"): lists of all files are merged; nothing
overrides a denial; a remote server is allowed by an address where the list has any, a command by a command likewise,
and else by its name; `managed-mcp.json` excludes every other server.

Read otherwise: what lies in the repository (`.claude/settings.json`, and `.claude/settings.local.json`, of which nobody
can tell whether it was cloned or written here) may turn servers off, and approves nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from discovery.readers import claude_json, expansion
from discovery.readers.claude_home import MANAGED_FOLDER, claude_folder
from discovery.request import Request
from reading import safe_files
from reading.safe_files import Rules, UnsafeFile
from reading.text import bounded, shown

MANAGED_SERVERS = "managed-mcp.json"
_MAX_BYTES = 4 * 1024 * 1024
_MAX_DROP_INS = 100
MAX_RULES = 1000  # of one list in one file: each server is held against each
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class ServerRule:
    """One entry of `allowedMcpServers` or `deniedMcpServers`: it fits a name, a command with its words, or a URL."""

    name: str | None = None
    command: tuple[str, ...] | None = None
    url: str | None = None

    def fits(self, server: Named) -> bool:
        """Whether the rule is about that server."""
        if self.url is not None:
            return server.url is not None and _url_fits(self.url, server.url)
        if self.command is not None:
            return server.command == self.command
        return self.name == server.name


@dataclass(frozen=True)
class Named:
    """A server as rules see it: the name that its file gives it, and its command or URL once expanded."""

    name: str
    command: tuple[str, ...] | None = None
    url: str | None = None


@dataclass(frozen=True)
class AllowList:
    """Rules of which a server has to fit one, and the file that says so."""

    rules: tuple[ServerRule, ...]
    where: str

    def allows(self, server: Named) -> bool:
        """Whether the list lets the server through."""
        if any(rule.fits(server) for rule in self.rules if rule.name is None):
            return True
        # A name is a label that anybody can give: it counts where the list has nothing better for that kind.
        by_command = server.command is not None
        better = [rule for rule in self.rules if (rule.command if by_command else rule.url) is not None]
        return not better and any(rule.fits(server) for rule in self.rules if rule.name is not None)


@dataclass(frozen=True)
class ClaudeSettings:
    """All of it together. Each name leads to the file that says so, for a person.

    `rejected` and `switched_off` are keyed by `_loose` names. `closed` says why only managed servers count. `approved`
    and `approves_all` come from the user's own files only.
    """

    rejected: Mapping[str, str] = field(default_factory=dict)
    switched_off: Mapping[str, str] = field(default_factory=dict)
    denied: tuple[tuple[ServerRule, str], ...] = ()
    allowed: tuple[AllowList, ...] = ()
    closed: str | None = None
    approved: frozenset[str] = frozenset()
    approves_all: bool = False
    warnings: tuple[str, ...] = ()

    def refusal(
        self,
        name: str,
        server: Mapping[str, object],
        environment: Mapping[str, str],
        *,
        of_project: bool = False,
        managed: bool = False,
    ) -> str | None:
        """Why the server called `name` in its file is not used, or None where nothing speaks against it.

        `server` is its entry, with `command` and `args` or `url`.
        """
        loose = _loose(name)
        if self.closed and not managed:
            return self.closed
        if of_project and (where := self.rejected.get(loose)):
            return f"rejected in Claude Code: disabledMcpjsonServers of {where}"
        if where := self.switched_off.get(loose):
            return f"switched off in Claude Code: disabledMcpServers of {where}"
        named = _named(name, server, environment)
        for rule, where in self.denied:
            if rule.fits(named):
                return f"denied in Claude Code: deniedMcpServers of {where}"
        for allow_list in () if managed else self.allowed:
            if not allow_list.allows(named):
                return f"not allowed in Claude Code: it is not in allowedMcpServers of {allow_list.where}"
        return None

    def approves(self, name: str) -> bool:
        """Whether the user's own settings approve the entry of `.mcp.json` with exactly this name."""
        return self.approves_all or name in self.approved


NOTHING = ClaudeSettings()


@dataclass(frozen=True)
class _File:
    """A file of settings as it was read. `own`: the user's, and not the repository's; `managed`: the machine's."""

    label: str
    settings: Mapping[str, object]
    own: bool = True
    managed: bool = False


def read(request: Request) -> ClaudeSettings:
    """The settings for the request's project. Never raises: what can't be read is a warning."""
    warnings: list[str] = []
    closed: list[str] = []
    files = list(_files(request, warnings, closed))
    allowed, denied = _lists(files, warnings)
    mine = [file for file in files if file.own]
    return ClaudeSettings(
        rejected=_by_name(files, "disabledMcpjsonServers", warnings),
        switched_off=_by_name(files, "disabledMcpServers", warnings),
        denied=denied,
        allowed=allowed,
        closed=next(iter(closed), None),
        approved=frozenset(name for file in mine for name in _texts(file, "enabledMcpjsonServers", warnings)),
        approves_all=any(file.settings.get("enableAllProjectMcpServers") is True for file in mine),
        warnings=bounded(warnings, "Claude Code's settings"),
    )


def _files(request: Request, warnings: list[str], closed: list[str]) -> Iterator[_File]:
    """Every file of settings, the machine's first."""
    managed = Rules(_MAX_BYTES, owners=frozenset({0}), closed=True)
    if (MANAGED_FOLDER / MANAGED_SERVERS).exists():
        closed.append(f"{MANAGED_FOLDER / MANAGED_SERVERS} excludes every server but its own")
    drop_ins, _ = safe_files.walk_files(MANAGED_FOLDER / "managed-settings.d", (".json",), _MAX_DROP_INS)
    for path in (MANAGED_FOLDER / "managed-settings.json", *drop_ins):
        before = len(warnings)
        settings = _document(path, str(path), managed, warnings)
        if len(warnings) > before:
            # What it forbids is unknown, so everything is forbidden.
            closed.append(f"{path} can't be read, so what it denies is unknown; mend it")
        yield _File(str(path), settings, managed=True)

    folder, label = claude_folder(request.home, request.machine_environment)
    root = request.root.resolve()
    users = Rules(_MAX_BYTES, owners=safe_files.owners_of(request.home), closed=True)
    path = folder / "settings.json"
    own = not path.resolve().is_relative_to(root)
    yield _File(f"{label}/settings.json", _document(path, f"{label}/settings.json", users, warnings), own)
    whole = claude_json.read(request)
    # Said by the probe that reads its servers, if it can't be read.
    yield _File(whole.label, whole.project, own=not whole.path.resolve().is_relative_to(root))
    for name in (".claude/settings.json", ".claude/settings.local.json"):
        yield _File(name, _document(request.root / name, name, Rules(_MAX_BYTES), warnings), own=False)


def _document(path: Path, label: str, rules: Rules, warnings: list[str]) -> Mapping[str, object]:
    try:
        data = safe_files.read_file(path, rules)
        document = {} if data is None or not data.strip() else json.loads(data.decode("utf-8-sig"))
    except UnsafeFile as error:
        warnings.append(f"{label} {error}: ignored")
        return {}
    except (ValueError, RecursionError) as error:
        why = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "no text, or too deep"
        warnings.append(f"{label} is not JSON ({why}): ignored, so what it says of MCP servers is unknown")
        return {}
    if not isinstance(document, dict):
        warnings.append(f"{label} holds {shown(document, 40)}, not a map of settings: ignored")
        return {}
    return document


def _texts(file: _File, key: str, warnings: list[str]) -> Iterator[str]:
    value = file.settings.get(key, [])
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        yield from value
    else:
        warnings.append(f"{file.label}: {key} is no list of names: ignored")


def _by_name(files: Iterable[_File], key: str, warnings: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files:
        for name in _texts(file, key, warnings):
            found.setdefault(_loose(name), file.label)
    return found


def _lists(
    files: Iterable[_File], warnings: list[str]
) -> tuple[tuple[AllowList, ...], tuple[tuple[ServerRule, str], ...]]:
    denied: list[tuple[ServerRule, str]] = []
    managed: list[AllowList] = []
    own: list[AllowList] = []
    others: list[AllowList] = []
    only_managed = False
    for file in files:
        denied += [(rule, file.label) for rule in _rules(file, "deniedMcpServers", warnings)]
        if "allowedMcpServers" in file.settings:
            listed = AllowList(tuple(_rules(file, "allowedMcpServers", warnings)), file.label)
            (managed if file.managed else own if file.own else others).append(listed)
        only_managed |= file.managed and file.settings.get("allowManagedMcpServersOnly") is True
    # The user's list adds to the machine's; the repository's may narrow, and never widen.
    kept = managed if only_managed else [*managed, *own]
    merged = AllowList(tuple(rule for each in kept for rule in each.rules), kept[0].where) if kept else None
    return tuple(filter(None, (merged, *others))), tuple(denied)


def _rules(file: _File, key: str, warnings: list[str]) -> Iterator[ServerRule]:
    listed = file.settings.get(key, [])
    entries = listed if isinstance(listed, list) else [listed]
    if len(entries) > MAX_RULES:
        warnings.append(f"{file.label}: {key} has {len(entries)} entries; only the first {MAX_RULES} count")
    for entry in entries[:MAX_RULES]:
        match entry:
            case {"serverUrl": str(url)}:
                yield ServerRule(url=url)
            case {"serverCommand": [*words]} if words and all(isinstance(word, str) for word in words):
                yield ServerRule(command=tuple(words))
            case {"serverName": str(name)}:
                yield ServerRule(name=name)
            case _:
                warnings.append(f"{file.label}: {key} has an entry that names no server, command or URL: ignored")


def _loose(name: str) -> str:
    """The name as Claude Code compares those that are turned off: what its tools' names can't hold becomes `_`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _named(name: str, server: Mapping[str, object], environment: Mapping[str, str]) -> Named:
    url, command, args = server.get("url"), server.get("command"), server.get("args")
    words = [command, *(args if isinstance(args, list) else ())]
    texts = tuple(_expanded(str(word), environment) for word in words) if isinstance(command, str) else None
    return Named(name, texts, _expanded(url, environment) if isinstance(url, str) else None)


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    try:
        return expansion.expand(text, environment)
    except expansion.ExpansionError:
        return text


def _url_fits(pattern: str, url: str) -> bool:
    """Whether a pattern with `*` fits. Host and scheme in any case; one without a path fits every path there."""
    if "://" not in pattern:
        return _fits(pattern, url)
    scheme, _, rest = pattern.partition("://")
    host, slash, path = rest.partition("/")
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(parts.scheme, "")
    place = parts.netloc.lower().rpartition("@")[2]
    bare = place.removesuffix(default).rstrip(".")
    places = {bare, f"{bare}{default}", place}
    tail = url.partition("://")[2].partition("/")[2]
    return (
        _fits(scheme.lower(), parts.scheme)
        and any(_fits(host.lower().rstrip("."), each) for each in places)
        and (not slash or _fits(path, tail))
    )


def _fits(pattern: str, text: str) -> bool:
    """`*` stands for anything. Without a regular expression: a repository's pattern could keep one busy for ever."""
    first, *inner = pattern.split("*")
    if not inner:
        return pattern == text
    last = inner.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in inner:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
