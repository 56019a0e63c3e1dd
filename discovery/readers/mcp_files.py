"""`mcpServers` documents, as Claude Code and its neighbours write them, turned into candidates.

The files belong to others and are read leniently: what cannot be used becomes a warning or a candidate with its
problem. Commands found in them are never run here. Of headers not even the names leave this module; a command's
arguments and variables do in a candidate's `launch` only, which nobody prints. A project's documents come from whoever
pushed last: what they name waits for approval (`approval.py`), and their texts are given no variable that is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import catalog
from discovery.approval import COMMAND, Approver, Entry, is_loopback
from discovery.config import is_name
from discovery.readers import commands, container_run, expansion, host_launches, launches, mcp_remote, package_runners
from discovery.readers.commands import Command, LaunchError
from discovery.readers.package_runners import Called
from discovery.report import Candidate, HostLaunch, Launch, NamedBy, Source
from discovery.request import Gathered
from reading import endpoints, safe_files
from reading.text import bounded, one_line, shown

MAX_BYTES = 1024 * 1024
MAX_SERVERS = 2000
_MAX_LABEL = 120

NEVER_RUN = "commands found in files are never run"
_REMOTE_TYPES = ("http", "sse", "streamable-http", "streamableHttp")
_CONFIGURED_AS = {name: service.name for service in catalog.FINDABLE.values() for name in service.configured_as}


@dataclass(frozen=True)
class McpFile:
    """A document to read: where it is, what a person calls it, the tier its servers belong to, and what is trusted.

    `host_commands`: whether the stack may start its local commands on this host. `approver`: who says what a project's
    document may do; None for the user's own.
    """

    path: Path
    label: str
    source: Source
    owners: frozenset[int] | None = None
    host_commands: bool = False
    max_bytes: int = MAX_BYTES
    approver: Approver | None = None

    @property
    def shown(self) -> str:
        """The label as messages say it: cut where the path is long."""
        return one_line(self.label, _MAX_LABEL)


def service_name(name: str) -> str | None:
    """The service that a server called `name` in an `mcpServers` document would provide, or None for no usable name.

    `redis` there is an MCP server *for* Redis, not Redis itself: it becomes `redis-mcp`.
    """
    text = re.sub(r"[^a-z0-9]+", "-", name[:200].lower()).strip("-")
    if text in _CONFIGURED_AS:
        return _CONFIGURED_AS[text]
    if text in catalog.FINDABLE:
        return f"{text}-mcp"
    return text if is_name(text) else None


def read_document(file: McpFile) -> tuple[Mapping[str, object] | None, tuple[str, ...]]:
    """The JSON object in `file` and no warning; or None and why; or None and nothing where there is no such file."""
    rules = safe_files.Rules(max_bytes=file.max_bytes, owners=file.owners, closed=file.owners is not None)
    try:
        data = safe_files.read_file(file.path, rules)
        if data is None:
            return None, ()
        document = json.loads(data.decode("utf-8-sig"))
    except safe_files.UnsafeFile as error:
        return None, (f"{file.shown} {error}: ignored",)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError and a JSONDecodeError are ValueErrors
        return None, (f"{file.shown} is not JSON ({_why(error)}): ignored",)
    if not isinstance(document, dict):
        return None, (f"{file.shown} holds {shown(document, 40)}, not a map of servers: ignored",)
    return document, ()


def servers_in(document: Mapping[str, object], stem: str) -> object:
    """The map of servers in any of the shapes people use: wrapped in `mcpServers`, bare, or one server alone.

    A single server is called `stem`, after its file.
    """
    if "mcpServers" in document:
        return document["mcpServers"]
    if isinstance(document.get("command"), str) or isinstance(document.get("url"), str):
        return {stem: document}
    return {name: value for name, value in document.items() if isinstance(value, dict)}


def candidates(file: McpFile, servers: object, environment: Mapping[str, str], key: str = "mcpServers") -> Gathered:
    """Candidates for `servers`, a map of name to server as found in `file` under `key`."""
    if not isinstance(servers, dict):
        return Gathered(warnings=(f"{file.shown}: {key} is {shown(servers, 40)}, not a map of servers: ignored",))
    found: list[Candidate] = []
    entries: list[Entry] = []
    warnings: list[str] = []
    for name, server in list(servers.items())[:MAX_SERVERS]:
        inner = f"{key}.{one_line(str(name), 64)}"
        where, place = f"{file.shown}: {inner}", f"{file.label}: {inner}"
        service = service_name(str(name))
        if service is None:
            warnings.append(f"{where} has no name that a service can have: ignored")
        elif not isinstance(server, dict):
            warnings.append(f"{where} is {shown(server, 40)}, not a server: ignored")
        elif file.approver is None:
            said = _said(service, file, server, environment)
            found.append(said.candidate(service, file, place))
        else:
            candidate, entry = _of_a_project(service, file, place, server, environment, file.approver)
            found.append(candidate)
            entries += [entry] if entry else []
            warnings += [waiting(candidate)] if candidate.awaits_approval else []
    if len(servers) > MAX_SERVERS:
        warnings.append(f"{file.shown}: {key} has {len(servers)} servers; only the first {MAX_SERVERS} are looked at")
    return Gathered(tuple(found), bounded(warnings, file.shown), entries=tuple(entries))


def waiting(candidate: Candidate) -> str:
    """The warning for a candidate that waits for approval; the command comes first, in case the line is cut."""
    return f"{candidate.service} {candidate.problem} [{one_line(candidate.evidence, _MAX_LABEL)}]"


@dataclass(frozen=True)
class _Said:
    """What one entry comes to: where it is, why it is not asked, how it is started."""

    endpoint: str = ""
    problem: str | None = None
    launch: Launch | HostLaunch | None = None

    def candidate(self, service: str, file: McpFile, where: str) -> Candidate:
        """`where` is the entry's place, whole."""
        named_by = NamedBy.USER if file.approver is None else NamedBy.PROJECT
        return Candidate(
            service,
            file.source,
            self.endpoint,
            where,
            problem=self.problem,
            launch=self.launch,
            key=where,
            named_by=named_by,
        )


def _of_a_project(
    service: str,
    file: McpFile,
    where: str,
    server: Mapping[str, object],
    environment: Mapping[str, str],
    approver: Approver,
) -> tuple[Candidate, Entry | None]:
    """The candidate of a project's entry, as far as that is approved; and the entry, where it could be."""
    names = frozenset(_names_in(server))
    if len(names) > commands.MAX_VARIABLES or not all(map(commands.is_variable, names)):
        # Whoever approves it has to see every name.
        problem = f"refers to more than {commands.MAX_VARIABLES} variables, or to what can't be one's name"
        return _Said(problem=problem).candidate(service, file, where), None
    # What it would do is known without the value of any variable.
    would = _said(service, file, server, dict.fromkeys(names, ""))
    launch = would.launch if isinstance(would.launch, Launch) else None
    if launch is None and would.problem is not None:
        return would.candidate(service, file, where), None
    does = f"start {launch.starts}" if launch else f"call {would.endpoint}"
    try:
        entry = approver.entry(service, where, server, does, launch.takes if launch else ())
    except RecursionError:
        return replace(would, problem="nested too deeply", launch=None).candidate(service, file, where), None
    grant = approver.grant(entry)
    if not grant.approved and (launch or approver.only_approved or not is_loopback(would.endpoint)):
        waits = replace(would, problem=approver.waits(entry), launch=None)
        return replace(waits.candidate(service, file, where), awaits_approval=True), entry
    if launch is None:
        return would.candidate(service, file, where), entry
    given = {name: value for name, value in environment.items() if name in grant.variables}
    if withheld := [name for name in _names_in(server, needed=True) if name not in grant.variables]:
        problem = f"needs {one_line(withheld[0], 60)}, which nobody names for it; {how_to_name(service)}"
        return replace(would, problem=problem, launch=None).candidate(service, file, where), entry
    return _said(service, file, server, given).candidate(service, file, where), entry


def how_to_name(service: str) -> str:
    """What to do where an entry of the project's wants a variable that is not named for it."""
    return f"add it to mcpVariables.{service}, or {COMMAND} {service}"


def _names_in(server: Mapping[str, object], *, needed: bool = False) -> Iterator[str]:
    """The variables of this machine that a command, its arguments and `env` refer to; `needed`: without a default."""
    for text in commands.texts_in(server):
        yield from expansion.needed_in(text) if needed else expansion.names_in(text)
    yield from _handed_on(server)


def _handed_on(server: Mapping[str, object]) -> tuple[str, ...]:
    """The variables of this machine that `docker run -e NAME` hands on."""
    with suppress(LaunchError):
        command = commands.unwrapped(commands.words_of(server))
        if container_run.is_run(command):
            own = _own_variables(server, command)
            return tuple(name for name in container_run.variables_in(command) if name not in own)
    return ()


def _said(service: str, file: McpFile, server: Mapping[str, object], environment: Mapping[str, str]) -> _Said:
    kind, url = server.get("type"), server.get("url")
    if server.get("disabled") is True:
        return _Said(problem="disabled in its file")
    if isinstance(url, str) and (kind is None or kind in _REMOTE_TYPES):
        return _remote(url, file, environment)
    if isinstance(server.get("command"), str | list) and kind in (None, "stdio", "local"):
        return _started(service, file, server, environment)
    return _Said(problem=f"neither a url with a known type nor a stdio command (type {shown(kind, 40)})")


def _remote(url: str, file: McpFile, environment: Mapping[str, str]) -> _Said:
    if secrets := expansion.secret_names(url):
        return _Said(problem=f"its url would carry {one_line(secrets[0], 60)}, a secret; put that into a header")
    if file.approver is not None:
        # An address stands in reports, logs and the state, so approval can't open it to variables either.
        if needed := expansion.needed_in(url):
            name = one_line(needed[0], 60)
            problem = f"its url needs {name} of this machine, which no project's url is given; write the address out"
            return _Said(problem=problem)
        environment = {}
    try:
        return _Said(endpoints.normalise_endpoint(expansion.expand(url, environment)))
    except expansion.ExpansionError as error:
        return _Said(problem=f"its url {error}")
    except endpoints.EndpointError as error:
        return _Said(problem=f"its url {shown(url)} {error}")


def _started(service: str, file: McpFile, server: Mapping[str, object], environment: Mapping[str, str]) -> _Said:
    """What is said of a stdio server: a package, a bridge to another server, or a command of this host."""
    try:
        if folder := commands.claudes_folder(server):
            raise LaunchError(f"needs {folder}, a folder that only Claude Code names; write its path out")
        command = commands.unwrapped(commands.words_of(server))
        if container_run.is_run(command) and not file.host_commands:
            return _container(command, server, environment)
        called = package_runners.read(command)
        if called is None:
            return _host_command(service, file, command, server, environment)
        variables = _own_variables(server, command)
        if called.name == mcp_remote.PACKAGE:
            return _said(service, file, mcp_remote.bridged(called, variables), environment)
    except LaunchError as error:
        return _Said(problem=str(error))
    return _package(called, variables, environment)


def _own_variables(server: Mapping[str, object], command: Command) -> dict[str, str]:
    """What an entry sets for its command, by `env` of its own or by the program. Raises `LaunchError`."""
    return {**commands.variables_of(server), **command.variables}


def _container(command: Command, server: Mapping[str, object], environment: Mapping[str, str]) -> _Said:
    """What is said of a stdio server that comes as an image. Raises `LaunchError`."""
    container = container_run.read(command, _own_variables(server, command))
    launch = launches.container_launch(container, environment)
    return _Said(
        problem=f"speaks stdio in a container of {launch.package}: not started during discovery", launch=launch
    )


def _package(called: Called, variables: Mapping[str, str], environment: Mapping[str, str]) -> _Said:
    """What is said of a stdio server that comes as a package."""
    of_npm = called.program == "npx"
    # An endpoint is one word, which a range of versions need not be.
    endpoint = f"npx:{called.package if endpoints.is_package(called.package) else called.name}" if of_npm else ""
    try:
        launch = launches.launch_of(called, variables, environment)
    except LaunchError as error:
        return _Said(endpoint, str(error))
    if of_npm:
        return _Said(endpoint, "stdio: not started during discovery", launch)
    return _Said("", f"speaks stdio through {shown(called.program, 40)}: {NEVER_RUN} during discovery", launch)


def _host_command(
    service: str, file: McpFile, command: Command, server: Mapping[str, object], environment: Mapping[str, str]
) -> _Said:
    """What is said of a stdio server that is a command of this host.

    What a project brings along comes from others with the next `git pull`, so no key of a stack lets it run here.
    """
    speaks = f"speaks stdio through {shown(command.program, 40)}"
    if file.source is not Source.USER:
        return _Said(problem=f"{speaks}: {NEVER_RUN}, and of a project's files not by allowHostCommands either")
    if service in catalog.SERVICES:
        return _Said(problem=f"{speaks}: {NEVER_RUN}; start it behind an HTTP bridge and set ZEN_MCP_URL")
    if not file.host_commands:
        return _Said(problem=f"{speaks}: {NEVER_RUN}, unless the stack sets allowHostCommands")
    try:
        launch = host_launches.launch_of(server, environment)
        return _Said(problem=f"{speaks}: a command of this host, not started during discovery", launch=launch)
    except LaunchError as error:
        return _Said(problem=f"{speaks}: {error}")


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: {error.msg}"
    return "nested too deeply" if isinstance(error, RecursionError) else one_line(str(error), 80)
