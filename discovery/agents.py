"""The cascade of agent definitions: Markdown with front matter or YAML, from several tiers, the first by name wins.

Most files are other people's: a broken one costs only itself and is listed with what is wrong with it. Nothing in them
runs: an agent is a prompt with a model's name and tools' names.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from discovery.config import AGENT_TIERS, AUTO_DISCOVER, AgentConfig, AgentsConfig
from discovery.readers.agent_folders import AgentFolder, agent_folders
from discovery.report import AgentDefinition, AgentReport, ServiceReport
from discovery.request import ConfigError, Request
from reading import safe_files
from reading.agent_definition import DefinitionError, NoNameError, agent_id, read_definition
from reading.safe_files import UnsafeFile
from reading.text import bounded, one_line, shown

MAX_FILES = 1000  # of one folder with all below it
MAX_BYTES = 256 * 1024  # of one file
MAX_FOLDER_BYTES = 16 * 1024 * 1024  # that are read of one folder
# Of all winners together. The stack's state carries them, and each step of an update writes it whole: with 60 resources
# and a state in files, 4 MiB add 70 s to the first `up` and 4 s to one that changes nothing (2 cores, 2026-11-28).
MAX_ALL_BYTES = 4 * 1024 * 1024

_SUFFIXES = (".md", ".yaml", ".yml")
# What lies beside agents and defines none.
_ABOUT = frozenset({"readme", "claude", "agents", "changelog", "contributing", "license"})
_MAX_LISTED = 10


@dataclass(frozen=True)
class Definitions:
    """What the files of all tiers say: definitions by id, the first tier first; and each one's size in bytes."""

    by_id: Mapping[str, list[AgentDefinition]]
    sizes: Mapping[AgentDefinition, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """A definition, and the size of its file in bytes."""

    definition: AgentDefinition
    size: int = 0


def read_definitions(request: Request, seconds: float = 60.0) -> Definitions:
    """Every definition there is. After `seconds` no further file is read: the last tiers can't hide the first."""
    deadline = time.monotonic() + seconds
    by_id: dict[str, list[AgentDefinition]] = defaultdict(list)
    sizes: dict[AgentDefinition, int] = {}
    places = agent_folders(request.root, request.home, request.machine_environment)
    warnings = list(places.warnings)
    for folder in places.folders:
        found, problems = _read_folder(folder, deadline)
        warnings += problems
        for one in found:
            by_id[one.definition.name].append(one.definition)
            sizes[one.definition] = one.size
    return Definitions(by_id, sizes, tuple(warnings))


def resolve(
    definitions: Definitions, config: AgentsConfig, services: Mapping[str, ServiceReport]
) -> tuple[dict[str, AgentReport], tuple[str, ...]]:
    """Every agent that a file defines or the configuration names, by id; and warnings.

    `services` is what this look found: a dependency on `auto_discover` resolves to its selected endpoint.
    """
    found = definitions.by_id
    warnings = list(definitions.warnings)
    for name in config.agents:
        if name not in found:
            warnings.append(f"agent {name} is configured, but no file defines it")
    reports = {
        name: _report(found.get(name, []), config.agents.get(name, AgentConfig()), services)
        for name in sorted({*found, *config.agents})
    }
    left_out = _beyond_the_limit(reports, definitions.sizes)
    if left_out:
        names = ", ".join(left_out[:_MAX_LISTED]) + (", …" if len(left_out) > _MAX_LISTED else "")
        limit = safe_files.size(MAX_ALL_BYTES)
        warnings.append(f"agents: {len(left_out)} left out, since all together may hold {limit}: {names}")
    return reports, tuple(warnings)


def read_texts(
    agents: Mapping[str, AgentReport], root: Path, home: Path, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Each agent's winning definition as the application reads it: JSON, by the agent's id.

    `environment` (this process's own by default) tells where `~/.claude` is. Raises `ConfigError` where a file is gone,
    unsafe, or no longer what the look saw.
    """
    folders = agent_folders(root, home, os.environ if environment is None else environment).folders
    return {name: _read_again(agent.selected, folders) for name, agent in agents.items() if agent.selected is not None}


def _read_folder(folder: AgentFolder, deadline: float) -> tuple[list[_Found], tuple[str, ...]]:
    definitions: list[_Found] = []
    warnings: list[str] = []
    paths, cut = safe_files.walk_files(folder.path, _SUFFIXES, MAX_FILES)
    if cut:
        warnings.append(f"{folder.label} has more files than are looked at: only the first {MAX_FILES} count")
    total = 0
    for number, path in enumerate(paths):
        inner = path.relative_to(folder.path).as_posix()
        if folder.only is not None and inner not in folder.only:
            continue
        if time.monotonic() > deadline:
            warnings.append(f"{folder.label}: cut off; {len(paths) - number} files are not read")
            break
        if total > MAX_FOLDER_BYTES:
            limit = safe_files.size(MAX_FOLDER_BYTES)
            warnings.append(f"{folder.label} has more than {limit} of definitions: {len(paths) - number} are not read")
            break
        found = _definition(path, f"{folder.label}/{inner}", folder)
        if found is None:
            continue
        total += found.size
        definitions.append(found)
        if found.definition.problem is not None:
            label = one_line(found.definition.path, 120)
            warnings.append(f"{label}: {found.definition.problem}: left out")
    return definitions, bounded(warnings, folder.label)


def _definition(path: Path, label: str, folder: AgentFolder) -> _Found | None:
    size = 0
    broken = AgentDefinition(agent_id(path.stem), folder.tier, one_line(label, 200))
    try:
        if not label.isprintable():
            raise DefinitionError("its file name has control characters")
        data = safe_files.read_file(path, _rules(folder))
        if data is None:
            return None  # removed since the folder was listed, or a link to nowhere
        size = len(data)
        definition = read_definition(data, is_yaml=path.suffix != ".md")
    except UnsafeFile as error:
        return _Found(replace(broken, problem=f"the file {error}"), size)
    except DefinitionError as error:
        if isinstance(error, NoNameError) and path.stem.lower() in _ABOUT:
            return None
        return _Found(replace(broken, problem=str(error)), size)
    return _Found(
        AgentDefinition(
            agent_id(definition.name),
            folder.tier,
            label,
            definition.model,
            sha256=hashlib.sha256(data).hexdigest(),
            title=definition.name,
            notes=definition.notes,
        ),
        size,
    )


def _rules(folder: AgentFolder) -> safe_files.Rules:
    return safe_files.Rules(max_bytes=MAX_BYTES, owners=folder.owners, closed=folder.owners is not None)


def _report(
    definitions: list[AgentDefinition], config: AgentConfig, services: Mapping[str, ServiceReport]
) -> AgentReport:
    order = config.priority_order or AGENT_TIERS
    usable = [each for each in definitions if each.problem is None and each.tier in order]
    usable.sort(key=lambda each: order.index(each.tier))
    unlisted = [
        replace(each, problem=f"{each.tier} is not in this agent's priority_order")
        for each in definitions
        if each.problem is None and each.tier not in order
    ]
    broken = [each for each in definitions if each.problem is not None]
    return AgentReport(
        selected=usable[0] if usable else None,
        shadowed=(*(_shadowed(each, usable[0]) for each in usable[1:]), *unlisted, *broken),
        dependencies=dict(_dependencies(config, services)),
    )


def _shadowed(definition: AgentDefinition, winner: AgentDefinition) -> AgentDefinition:
    if definition.title == winner.title:
        return definition
    names = f"{shown(definition.title, 60)} and {shown(winner.title, 60)}"
    return replace(definition, problem=f"{names} are one id, {winner.name}; rename one of them")


def _beyond_the_limit(reports: dict[str, AgentReport], sizes: Mapping[AgentDefinition, int]) -> list[str]:
    """Leave out, in `reports`, the winners that do not fit with all before them, in the order of the tiers; by name."""
    left_out: list[str] = []
    total = 0
    for name, selected in _winners(reports):
        total += (size := sizes[selected])
        if total > MAX_ALL_BYTES:
            total -= size
            left_out.append(name)
            limit = safe_files.size(MAX_ALL_BYTES)
            problem = f"has no room: all agents together may hold {limit}; shorten some, or remove them"
            shadowed = (replace(selected, problem=problem), *reports[name].shadowed)
            reports[name] = replace(reports[name], selected=None, shadowed=shadowed)
    return left_out


def _winners(reports: Mapping[str, AgentReport]) -> Iterable[tuple[str, AgentDefinition]]:
    chosen = [(name, agent.selected) for name, agent in reports.items() if agent.selected is not None]
    return sorted(chosen, key=lambda one: AGENT_TIERS.index(one[1].tier))


def _dependencies(config: AgentConfig, services: Mapping[str, ServiceReport]) -> Iterator[tuple[str, str | None]]:
    for name, wanted in config.dependencies.services.items():
        if wanted != AUTO_DISCOVER:
            yield name, wanted
        else:
            service = services.get(name)
            yield name, service.selected.candidate.endpoint if service and service.selected else None


def _read_again(definition: AgentDefinition, folders: Iterable[AgentFolder]) -> str:
    # A report can come from a snapshot, which is a file like any other: its paths stay within their tier.
    for folder in folders:
        inner = definition.path.removeprefix(f"{folder.label}/")
        if folder.tier == definition.tier and inner != definition.path and ".." not in PurePosixPath(inner).parts:
            break
    else:
        raise _changed(definition, "is not where agents of its tier are; look again")
    path = folder.path / inner
    try:
        data = safe_files.read_file(path, _rules(folder))
        if data is None:
            raise _changed(definition, "is gone since discovery looked; restore it or look again")
        if definition.sha256 is not None and hashlib.sha256(data).hexdigest() != definition.sha256:
            raise _changed(definition, "has changed since discovery looked; look again")
        return read_definition(data, is_yaml=path.suffix != ".md").to_json()
    except UnsafeFile as error:
        raise _changed(definition, f"{error}; mend it and look again") from error
    except DefinitionError as error:
        raise _changed(definition, f"{error}; and look again") from error


def _changed(definition: AgentDefinition, what: str) -> ConfigError:
    return ConfigError(f"{one_line(definition.path)}:1: (file): {what}")
