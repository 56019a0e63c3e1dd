"""The cascade of agent definitions: Markdown with front matter or YAML, from four tiers, the first by name wins.

Most files are other people's: a broken one costs only itself and is listed with what is wrong with it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from discovery.config import AGENT_TIERS, AUTO_DISCOVER, AgentConfig, AgentsConfig, is_name
from discovery.readers.claude_home import claude_folder
from discovery.report import AgentDefinition, AgentReport, ServiceReport
from discovery.request import ConfigError, Request
from reading import safe_files, strict_yaml
from reading.safe_files import UnsafeFile
from reading.text import bounded, one_line, shown

MAX_FILES = 500
MAX_BYTES = strict_yaml.MAX_BYTES
MAX_ALL_BYTES = 4 * 1024 * 1024

_SUFFIXES = (".md", ".yaml", ".yml")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class _Tier:
    name: str
    folder: Path
    label: str
    owners: frozenset[int] | None = None

    @property
    def rules(self) -> safe_files.Rules:
        return safe_files.Rules(max_bytes=MAX_BYTES, owners=self.owners, closed=self.owners is not None)


class _BrokenError(Exception):
    """A definition that cannot be used; the message says why."""


def resolve(
    request: Request, config: AgentsConfig, services: Mapping[str, ServiceReport]
) -> tuple[dict[str, AgentReport], tuple[str, ...]]:
    """Every agent that a file defines or the configuration names, by name; and warnings.

    `services` is what this look found: a dependency on `auto_discover` resolves to its selected endpoint.
    """
    found: dict[str, list[AgentDefinition]] = defaultdict(list)
    warnings: list[str] = []
    for tier in _tiers(request.root, request.home, request.machine_environment):
        definitions, problems = _read_tier(tier)
        warnings += problems
        for definition in definitions:
            found[definition.name].append(definition)
    for name in config.agents:
        if name not in found:
            warnings.append(f"agent {name} is configured, but no file defines it")
    reports = {
        name: _report(found.get(name, []), config.agents.get(name, AgentConfig()), services)
        for name in sorted({*found, *config.agents})
    }
    return reports, tuple(warnings)


def read_texts(
    agents: Mapping[str, AgentReport], root: Path, home: Path, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The text of each agent's winning file. `environment` (this process's own by default) tells where `~/.claude` is.

    Raises `ConfigError` where a file is gone, unsafe, or no longer what the look saw.
    """
    tiers = {tier.name: tier for tier in _tiers(root, home, os.environ if environment is None else environment)}
    texts: dict[str, str] = {}
    total = 0
    for name, agent in agents.items():
        if agent.selected is None:
            continue
        data = _read_again(agent.selected, tiers)
        total += len(data)
        if total > MAX_ALL_BYTES:
            raise _changed(agent.selected, f"brings all agents over {safe_files.size(MAX_ALL_BYTES)}; shorten them")
        texts[name] = data.decode("utf-8-sig")
    return texts


def _tiers(root: Path, home: Path, environment: Mapping[str, str]) -> tuple[_Tier, ...]:
    """The tiers in the default order, which is that of `AGENT_TIERS`."""
    claude, label = claude_folder(home, environment)
    folders = ("core", "project", "defaults")
    return (
        _Tier(AGENT_TIERS[0], claude / "agents", f"{label}/agents", safe_files.owners_of(home)),
        *(
            _Tier(name, root / ".agents" / folder, f".agents/{folder}")
            for name, folder in zip(AGENT_TIERS[1:], folders, strict=True)
        ),
    )


def _read_tier(tier: _Tier) -> tuple[list[AgentDefinition], tuple[str, ...]]:
    definitions: list[AgentDefinition] = []
    warnings: list[str] = []
    paths, cut = safe_files.walk_files(tier.folder, _SUFFIXES, MAX_FILES)
    if cut:
        warnings.append(f"{tier.label} has more files than are looked at: only the first {MAX_FILES} count")
    for path in paths:
        label = f"{tier.label}/{path.relative_to(tier.folder).as_posix()}"
        definition = _definition(path, label, tier)
        if definition is None:
            continue
        if definition.problem is not None:
            warnings.append(f"{one_line(label, 120)}: {definition.problem}: left out")
        # A file without even a usable name (a README, say) has no agent it could be listed under.
        if is_name(definition.name):
            definitions.append(definition)
    return definitions, bounded(warnings, tier.label)


def _definition(path: Path, label: str, tier: _Tier) -> AgentDefinition | None:
    broken = AgentDefinition(path.stem, tier.name, one_line(label, 200))
    try:
        if not label.isprintable():
            raise _BrokenError("its file name has control characters")
        data = safe_files.read_file(path, tier.rules)
        if data is None:
            return None  # removed since the folder was listed, or a link to nowhere
        fields = _fields(path.suffix, data)
        name, model = fields.get("name"), fields.get("model")
        if not isinstance(name, str) or not is_name(name):
            raise _BrokenError(f"its name {shown(name, 60)} is not lower-case letters, digits and '-'")
        if model is not None and not (isinstance(model, str) and _MODEL.fullmatch(model)):
            raise _BrokenError(f"its model {shown(model, 60)} is not a model's name")
    except UnsafeFile as error:
        return replace(broken, problem=f"the file {error}")
    except _BrokenError as error:
        return replace(broken, problem=str(error))
    return AgentDefinition(name, tier.name, label, model, sha256=hashlib.sha256(data).hexdigest())


def _fields(suffix: str, data: bytes) -> Mapping[str, object]:
    """The front matter of a Markdown file, or all of a YAML one. Keys nobody here uses may hold anything."""
    first_line = 0
    if suffix == ".md":
        data, first_line = _front_matter(data), 1
    document = strict_yaml.read(data)
    for problem in document.problems:
        if document.value is None or problem.path in (("name",), ("model",), ("description",), ("prompt",)):
            key = f"{problem.path[0]}: " if problem.path else ""
            raise _BrokenError(f"line {problem.line + first_line}: {key}{problem.what}")
    if not isinstance(document.value, dict):
        raise _BrokenError("has no map of name, description and model")
    for key in ("description", "prompt"):
        if not isinstance(document.value.get(key, ""), str):
            raise _BrokenError(f"its {key} is {shown(document.value[key], 40)}, not text")
    return document.value


def _front_matter(data: bytes) -> bytes:
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise _BrokenError("is not UTF-8") from None
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise _BrokenError("has no front matter between two lines of ---")
    return match[1].encode()


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
        shadowed=(*usable[1:], *unlisted, *broken),
        dependencies=dict(_dependencies(config, services)),
    )


def _dependencies(config: AgentConfig, services: Mapping[str, ServiceReport]) -> Iterator[tuple[str, str | None]]:
    for name, wanted in config.dependencies.services.items():
        if wanted != AUTO_DISCOVER:
            yield name, wanted
        else:
            service = services.get(name)
            yield name, service.selected.candidate.endpoint if service and service.selected else None


def _read_again(definition: AgentDefinition, tiers: Mapping[str, _Tier]) -> bytes:
    tier = tiers.get(definition.tier)
    # A report can come from a snapshot, which is a file like any other: its paths stay within their tier.
    inner = PurePosixPath(definition.path).parts
    if tier is None or not definition.path.startswith(f"{tier.label}/") or ".." in inner:
        raise _changed(definition, "is not where agents of its tier are; look again")
    try:
        data = safe_files.read_file(tier.folder / definition.path.removeprefix(f"{tier.label}/"), tier.rules)
    except UnsafeFile as error:
        raise _changed(definition, f"{error}; mend it and look again") from error
    if data is None:
        raise _changed(definition, "is gone since discovery looked; restore it or look again")
    if definition.sha256 is not None and hashlib.sha256(data).hexdigest() != definition.sha256:
        raise _changed(definition, "has changed since discovery looked; look again")
    return data


def _changed(definition: AgentDefinition, what: str) -> ConfigError:
    return ConfigError(f"{one_line(definition.path)}:1: (file): {what}")
