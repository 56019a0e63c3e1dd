"""`mcpServers` documents, as Claude Code and its neighbours write them, turned into candidates.

The files belong to others and are read leniently: what cannot be used becomes a warning or a candidate with its
problem. Commands found in them are never run here. A command's arguments and variables leave this module in a
candidate's `launch` only, the values of headers in its `headers`, which nobody prints. A project's documents come from
whoever pushed last: what they name waits for approval (`approval.py`), and their texts are given no variable that is
not. What Claude Code's settings turn off is listed with that reason (`claude_settings.py`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import catalog
from discovery.approval import COMMAND, Approver, Entry, is_loopback
from discovery.readers import (
    claude_settings,
    commands,
    container_run,
    entry_forms,
    expansion,
    host_launches,
    launches,
    mcp_remote,
    package_runners,
)
from discovery.readers.claude_settings import ClaudeSettings
from discovery.readers.commands import Command, LaunchError
from discovery.readers.package_runners import Called
from discovery.readers.server_names import service_names
from discovery.report import Candidate, HostLaunch, Launch, NamedBy, Source
from discovery.request import Gathered
from reading import endpoints, safe_files
from reading.text import bounded, one_line, shown

MAX_BYTES = 1024 * 1024
MAX_SERVERS = 2000
_MAX_LABEL = 120

# Each ends at the end of the text at the latest, so that none is begun over and over.
_COMMENT = r"//[^\n]*|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)"
# A string stays, a comment goes, and so does a comma that nothing follows.
_COMMENTS = re.compile(rf'("(?:[^"\\]|\\.)*+(?:"|\Z))|{_COMMENT}|,(?=(?:\s|{_COMMENT})*[\]}}])', re.DOTALL)

NEVER_RUN = "commands found in files are never run"
# Where Claude Code looks for a project's servers, whose settings approve what stands there by its name.
CLAUDES_PROJECT_FILE = ".mcp.json"


@dataclass(frozen=True)
class McpFile:
    """A document to read: where it is, what a person calls it, the tier its servers belong to, and what is trusted.

    `host_commands`: whether the stack may start its local commands on this host. `approver`: who says what a project's
    document may do; None for the user's own. `settings` are Claude Code's; `managed`: the machine's administrator
    wrote it.
    """

    path: Path
    label: str
    source: Source
    owners: frozenset[int] | None = None
    host_commands: bool = False
    max_bytes: int = MAX_BYTES
    approver: Approver | None = None
    settings: ClaudeSettings = claude_settings.NOTHING
    managed: bool = False

    @property
    def shown(self) -> str:
        """The label as messages say it: cut where the path is long."""
        return one_line(self.label, _MAX_LABEL)


def read_document(file: McpFile) -> tuple[Mapping[str, object] | None, tuple[str, ...]]:
    """The JSON object in `file` and no warning; or None and why; or None and nothing where there is no such file."""
    rules = safe_files.Rules(max_bytes=file.max_bytes, owners=file.owners, closed=file.owners is not None)
    try:
        data = safe_files.read_file(file.path, rules)
        if data is None:
            return None, ()
        document = _parsed(file, data.decode("utf-8-sig"))
    except safe_files.UnsafeFile as error:
        return None, (f"{file.shown} {error}: ignored",)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError and a JSONDecodeError are ValueErrors
        kind = "TOML" if file.path.suffix == ".toml" else "JSON"
        return None, (f"{file.shown} is not {kind} ({_why(error)}): ignored",)
    if not isinstance(document, dict):
        return None, (f"{file.shown} holds {shown(document, 40)}, not a map of servers: ignored",)
    return document, ()


def _parsed(file: McpFile, text: str) -> object:
    """The document. A user's may be TOML, or JSON with comments and commas at the end. Raises `ValueError`."""
    if file.path.suffix == ".toml":
        return tomllib.loads(text)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if file.approver is not None:
            raise
        plain = _COMMENTS.sub(lambda found: found[1] or "\n" * found[0].count("\n"), text)
        if plain == text:
            raise
        return json.loads(plain)


def servers_in(document: Mapping[str, object], stem: str) -> object:
    """The map of servers in any of the shapes people use: wrapped in `mcpServers`, bare, or one server alone.

    A single server is called `stem`, after its file.
    """
    for key in ("mcpServers", "servers"):
        # VS Code's files have `servers`; a server that is called so has a command or an address itself.
        if key in document and not _is_server(document[key]):
            return document[key]
    if _is_server(document):
        return {stem: document}
    return {name: value for name, value in document.items() if isinstance(value, dict)}


def _is_server(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(value.get(key), str) for key in ("command", "url"))


def candidates(file: McpFile, servers: object, environment: Mapping[str, str], key: str = "mcpServers") -> Gathered:
    """Candidates for `servers`, a map of name to server as found in `file` under `key`."""
    if not isinstance(servers, dict):
        return Gathered(warnings=(f"{file.shown}: {key} is {shown(servers, 40)}, not a map of servers: ignored",))
    found: list[Candidate] = []
    entries: list[Entry] = []
    warnings: list[str] = []
    looked_at = dict(list(servers.items())[:MAX_SERVERS])
    services = service_names(map(str, looked_at))
    for name, server in looked_at.items():
        inner = f"{key}.{one_line(str(name), 64)}"
        where, place = f"{file.shown}: {inner}", f"{file.label}: {inner}"
        service = services.get(str(name))
        if service is None:
            warnings.append(f"{where} has no name that a service can have: ignored")
        elif not isinstance(server, dict):
            warnings.append(f"{where} is {shown(server, 40)}, not a server: ignored")
        else:
            candidate, entry = _candidate(_Named(str(name), service, place), file, server, environment)
            found.append(candidate)
            entries += [entry] if entry else []
            warnings += [waiting(candidate)] if candidate.awaits_approval else []
    if len(servers) > MAX_SERVERS:
        warnings.append(f"{file.shown}: {key} has {len(servers)} servers; only the first {MAX_SERVERS} are looked at")
    return Gathered(tuple(found), bounded(warnings, file.shown), entries=tuple(entries))


@dataclass(frozen=True)
class _Named:
    """An entry's name in its file, the service that it is, and its whole place."""

    name: str
    service: str
    place: str


def _candidate(
    named: _Named, file: McpFile, written: Mapping[str, object], environment: Mapping[str, str]
) -> tuple[Candidate, Entry | None]:
    """The candidate of an entry as it is `written`; and the entry, where it is a project's that could be approved."""
    try:
        server = entry_forms.plain(written)
        of_project = file.approver is not None
        refusal = file.settings.refusal(named.name, server, environment, of_project=of_project, managed=file.managed)
    except entry_forms.FormError as error:
        return _Said(problem=str(error)).candidate(named.service, file, named.place), None
    except RecursionError:
        return _Said(problem="nested too deeply").candidate(named.service, file, named.place), None
    if refusal is not None:
        return replace(_Said(problem=refusal).candidate(named.service, file, named.place), turned_off=True), None
    if file.approver is not None:
        found, entry = _of_a_project(named, file, written, server, environment, file.approver)
        return replace(found, answer_seconds=entry_forms.answer_seconds(server)), entry
    said = _said(named.service, file, server, environment)
    candidate = _with_headers(said, environment).candidate(named.service, file, named.place)
    return replace(candidate, answer_seconds=entry_forms.answer_seconds(server)), None


def waiting(candidate: Candidate) -> str:
    """The warning for a candidate that waits for approval; the command comes first, in case the line is cut."""
    return f"{candidate.service} {candidate.problem} [{one_line(candidate.evidence, _MAX_LABEL)}]"


@dataclass(frozen=True)
class _Said:
    """What one entry comes to: where it is, why it is not asked, how it is started.

    `server` is the entry of what is reached at an address, in its plain form; `headers` are what a request there
    carries, once that may be; `withheld` says why it carries less than it could.
    """

    endpoint: str = ""
    problem: str | None = None
    launch: Launch | HostLaunch | None = None
    server: Mapping[str, object] = field(default_factory=dict, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    withheld: str = ""

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
            headers=self.headers,
            header_names=tuple(name for name, _ in self.headers),
            withheld=self.withheld,
        )


def _of_a_project(
    named: _Named,
    file: McpFile,
    written: Mapping[str, object],
    server: Mapping[str, object],
    environment: Mapping[str, str],
    approver: Approver,
) -> tuple[Candidate, Entry | None]:
    """The candidate of a project's entry, as far as that is approved; and the entry, where it could be."""
    service, where = named.service, named.place
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
        entry = approver.entry(service, where, written, does, launch.takes if launch else names)
    except RecursionError:
        return replace(would, problem="nested too deeply", launch=None).candidate(service, file, where), None
    by_settings = file.label == CLAUDES_PROJECT_FILE and file.settings.approves(named.name)
    entry = replace(entry, name=named.name, approved_by_settings=by_settings)
    grant = approver.grant(entry)
    if not grant.approved and (launch or approver.only_approved or not is_loopback(would.endpoint)):
        waits = replace(would, problem=approver.waits(entry), launch=None)
        return replace(waits.candidate(service, file, where), awaits_approval=True), entry
    given = {name: value for name, value in environment.items() if name in grant.variables}
    if launch is None:
        if grant.approved:
            return _with_headers(would, given).candidate(service, file, where), entry
        kept_back = f"its headers wait for approval: {COMMAND} {service}" if would.server.get("headers") else ""
        return replace(would, withheld=kept_back).candidate(service, file, where), entry
    if withheld := [name for name in _names_in(server, needed=True) if name not in grant.variables]:
        problem = f"needs {one_line(withheld[0], 60)}, which nobody names for it; {how_to_name(service)}"
        return replace(would, problem=problem, launch=None).candidate(service, file, where), entry
    return _said(service, file, server, given).candidate(service, file, where), entry


def how_to_name(service: str) -> str:
    """What to do where an entry of the project's wants a variable that is not named for it."""
    return f"add it to mcpVariables.{service}, or {COMMAND} {service}"


def _names_in(server: Mapping[str, object], *, needed: bool = False) -> Iterator[str]:
    """The variables of this machine that a command, its `env` and headers refer to; `needed`: without a default."""
    written = server.get("headers")
    of_headers = written.values() if isinstance(written, dict) else ()
    for text in (*commands.texts_in(server), *(text for text in of_headers if isinstance(text, str))):
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
    """What an entry in its plain form (`entry_forms.plain`) comes to, without its headers."""
    url = server.get("url")
    if isinstance(url, str):
        return replace(_remote(url, file, environment), server=server)
    return _started(service, file, server, environment)


def _with_headers(said: _Said, environment: Mapping[str, str]) -> _Said:
    """The same with the headers of the entry, where it is one that is reached at an address."""
    if said.problem is not None or said.launch is not None or not said.endpoint:
        return said
    if "headersHelper" in said.server:
        return replace(said, withheld="its headersHelper is a command, which is never run here; write headers instead")
    try:
        found = entry_forms.headers(said.server, environment)
    except entry_forms.FormError as error:
        return replace(said, withheld=f"its {error}")
    if not found and "oauth" in said.server:
        return replace(said, withheld="it logs in by OAuth in a browser; give its entry a token in headers")
    return replace(said, headers=found, withheld="" if found else "give its entry a key in headers")


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
