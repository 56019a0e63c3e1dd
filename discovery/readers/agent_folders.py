"""Where agents' definitions lie, in the order of their tiers: the folders, and what messages call them.

Layout of Claude Code's folders as of 2026-11-28: code.claude.com/docs/en/sub-agents and /plugins-reference; the record
of installed plugins as in github.com/anthropics/claude-code/issues/54310.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from discovery.config import BUNDLED, CLAUDE_PLUGIN, CLAUDE_PROJECT, MANAGED, PROJECT_CORE, PROJECT_SPECIFIC, USER
from discovery.readers.claude_home import MANAGED_FOLDER, claude_folder
from reading import safe_files
from reading.safe_files import UnsafeFile
from reading.text import one_line

MAX_PLUGINS = 200
_MAX_PARENTS = 32
_MAX_BYTES = 4 * 1024 * 1024
_PLUGIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")
_OURS = ((PROJECT_CORE, "core"), (PROJECT_SPECIFIC, "project"), (BUNDLED, "defaults"))


@dataclass(frozen=True)
class AgentFolder:
    """One folder of a tier. `only` names the files that count, None for all; `owners` as in `safe_files.Rules`."""

    tier: str
    path: Path
    label: str
    owners: frozenset[int] | None = None
    only: frozenset[str] | None = None


@dataclass(frozen=True)
class AgentFolders:
    """The folders, the first to win before the others, and what a person should know of how they were found."""

    folders: tuple[AgentFolder, ...]
    warnings: tuple[str, ...] = ()


def agent_folders(root: Path, home: Path, environment: Mapping[str, str]) -> AgentFolders:
    """All folders for the project in `root`. `environment` is this machine's own, without the project's `.env`."""
    claude, label = claude_folder(home, environment)
    owners = safe_files.owners_of(home)
    managed = MANAGED_FOLDER / ".claude/agents"
    warnings: list[str] = []
    ours = {tier: AgentFolder(tier, root / ".agents" / name, f".agents/{name}") for tier, name in _OURS}
    return AgentFolders(
        (
            AgentFolder(MANAGED, managed, str(managed), frozenset({0})),
            AgentFolder(USER, claude / "agents", f"{label}/agents", owners),
            ours[PROJECT_CORE],
            ours[PROJECT_SPECIFIC],
            *_project_folders(root, claude),
            *_plugin_folders(root, claude, label, owners, warnings),
            ours[BUNDLED],
        ),
        tuple(warnings),
    )


def _project_folders(root: Path, claude: Path) -> Iterator[AgentFolder]:
    """`.claude/agents` of the project and of each folder above it, up to the repository's root."""
    above = _up_to_the_repository(root)
    for number, folder in enumerate(above):
        # Where the home is a repository itself, its `.claude` is the user's.
        if folder / ".claude" != claude:
            yield AgentFolder(CLAUDE_PROJECT, folder / ".claude/agents", f"{'../' * number}.claude/agents")


def _up_to_the_repository(root: Path) -> list[Path]:
    folders = [root, *root.parents][:_MAX_PARENTS]
    for number, folder in enumerate(folders):
        if number and not _is_as_trusted(folder, root):
            break
        if (folder / ".git").exists():
            return folders[: number + 1]
    return [root]


def _is_as_trusted(folder: Path, root: Path) -> bool:
    """Whether nobody else can put files there than into the project: /tmp is everybody's."""
    try:
        above, own = folder.stat(), root.stat()
    except OSError:
        return False
    return above.st_uid in (own.st_uid, 0) and not above.st_mode & stat.S_IWOTH


def _plugin_folders(
    root: Path, claude: Path, label: str, owners: frozenset[int], warnings: list[str]
) -> Iterator[AgentFolder]:
    """The agents of each plugin that is switched on for this user or project, by the plugins' names."""
    record_file = claude / "plugins/installed_plugins.json"
    installed = _json(record_file, f"{label}/plugins/installed_plugins.json", owners, warnings).get("plugins")
    records = installed if isinstance(installed, dict) else {}
    switches = _switches(claude / "settings.json", f"{label}/settings.json", owners, warnings)
    # A repository may switch a plugin off; on, only one that its user installed for this very project.
    of_project: dict[str, bool] = {}
    for name in (".claude/settings.json", ".claude/settings.local.json"):
        of_project |= _switches(root / name, name, None, warnings)
    found = 0
    for plugin in sorted({*records, *switches}):
        if _PLUGIN_ID.fullmatch(plugin) is None:
            continue
        place, is_for_project = _installed_at(records.get(plugin), root)
        may_be_on = is_for_project or switches.get(plugin, False)
        if not may_be_on or not of_project.get(plugin, True):
            continue
        place = place or _unrecorded(plugin, claude / "plugins")
        if place is None:
            continue
        found += 1
        if found > MAX_PLUGINS:
            warnings.append(f"{label}/plugins: more than {MAX_PLUGINS} plugins are switched on; the rest is left out")
            return
        yield from _folders_of(plugin, place, owners, warnings)


def _switches(path: Path, label: str, owners: frozenset[int] | None, warnings: list[str]) -> dict[str, bool]:
    switches = _json(path, label, owners, warnings).get("enabledPlugins")
    # A list names versions that are fine: switched on.
    return {name: value is not False for name, value in switches.items()} if isinstance(switches, dict) else {}


def _installed_at(record: object, root: Path) -> tuple[Path | None, bool]:
    """Where the plugin lies, if that is recorded, and whether it was installed for this project only."""
    best: Path | None = None
    for entry in record if isinstance(record, list) else [record]:
        if not isinstance(entry, dict) or not isinstance(path := entry.get("installPath"), str):
            continue
        if "\0" in path or not path.startswith("/"):
            continue
        project = entry.get("projectPath")
        if entry.get("scope") in ("project", "local") and project is not None:
            if project == str(root):
                return Path(path), True
        else:
            best = best or Path(path)
    return best, False


def _unrecorded(plugin: str, plugins: Path) -> Path | None:
    """Where Claude Code keeps a plugin: a copy for each version, or its marketplace's own folder."""
    name, _, market = plugin.partition("@")
    versions = plugins / "cache" / market / name
    try:
        copies = sorted((entry for entry in versions.iterdir() if entry.is_dir()), key=_version)[-1:]
    except OSError:
        copies = []
    sources = [plugins / "marketplaces" / market / inner for inner in (f"plugins/{name}", name)]
    return next((place for place in (*copies, *sources) if market and place.is_dir()), None)


def _version(folder: Path) -> tuple[tuple[int, str], ...]:
    # 1.10.0 comes after 1.9.0.
    return tuple((int(part) if part.isdecimal() else -1, part) for part in re.split(r"[.+-]", folder.name))


def _folders_of(plugin: str, path: Path, owners: frozenset[int], warnings: list[str]) -> Iterator[AgentFolder]:
    label = f"plugin {plugin}"
    manifest = _json(path / ".claude-plugin/plugin.json", f"{label}/.claude-plugin/plugin.json", owners, warnings)
    named = manifest.get("agents", "agents")
    files: dict[PurePosixPath, set[str]] = {}
    for one in named if isinstance(named, list) else [named]:
        inner = PurePosixPath(one) if isinstance(one, str) and "\0" not in one else PurePosixPath("..")
        if inner.is_absolute() or ".." in inner.parts:
            warnings.append(f"{label}: agents: {one_line(str(one), 60)!r} leads out of the plugin: left out")
        elif inner.suffix == ".md":
            files.setdefault(inner.parent, set()).add(inner.name)
        else:
            yield AgentFolder(CLAUDE_PLUGIN, path / inner, f"{label}/{inner}", owners)
    for folder, names in files.items():
        yield AgentFolder(CLAUDE_PLUGIN, path / folder, f"{label}/{folder}", owners, frozenset(names))


def _json(path: Path, label: str, owners: frozenset[int] | None, warnings: list[str]) -> dict[str, object]:
    """The object in a file of Claude Code's; empty where there is none, or none that can be read."""
    try:
        data = safe_files.read_file(
            path, safe_files.Rules(max_bytes=_MAX_BYTES, owners=owners, closed=owners is not None)
        )
        document = {} if data is None else json.loads(data)
    except UnsafeFile as error:
        warnings.append(f"{one_line(label, 120)}: the file {error}; which plugins are switched on is unknown")
        return {}
    except (ValueError, RecursionError):
        warnings.append(f"{one_line(label, 120)}: is not JSON; which plugins are switched on is unknown")
        return {}
    return document if isinstance(document, dict) else {}
