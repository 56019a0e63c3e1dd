"""The look that a deployment is based on: live, or read from a committed snapshot."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from catalog import FINDABLE, MODELS, PROVIDER_KEYS, SERVICES, relay_port
from discovery import deployment_lock
from discovery.agents import read_texts
from discovery.approval import Approver
from discovery.config import DiscoveryConfig, load_discovery_config
from discovery.locks import lock_folder
from discovery.look import look
from discovery.one_look import one_look
from discovery.probes.npx import npx
from discovery.probes.other_tools import other_tools
from discovery.probes.project_files import project_files
from discovery.probes.user_files import user_files
from discovery.readers import approval_records
from discovery.readers.checkpoint import read_checkpoint
from discovery.readers.launches import file_text
from discovery.readers.tool_pins import file_of, read_tool_pins
from discovery.report import Finding, Launch, Report, Verdict
from discovery.request import DEFAULT_BUDGET_SECONDS, Checkpoint, Credential, Request
from discovery.running_gateway import notices_now
from errors import ConfigError
from reading import safe_files
from reading.text import one_line
from settings import StackSettings

_MAX_CERTIFICATES = 1024 * 1024


@dataclass(frozen=True)
class DeployLook:
    """A report, the project's discovery configuration, and what no report holds: contents.

    `agent_texts` are the winning agents' definitions by name, `tool_pins` the project's pins by server; `servers` how
    servers would be started now, by name and key, and `asked_with` the headers that requests to servers carry now,
    likewise; `certificates` the authorities that the runner trusts besides the public ones.
    """

    report: Report
    config: DiscoveryConfig
    agent_texts: Mapping[str, str]  # JSON
    servers: Mapping[tuple[str, str], Launch] = field(default_factory=dict, repr=False)
    certificates: str | None = field(default=None, repr=False)
    asked_with: Mapping[tuple[str, str], tuple[tuple[str, str], ...]] = field(default_factory=dict, repr=False)
    tool_pins: Mapping[str, str] = field(default_factory=dict)  # JSON

    @property
    def headers(self) -> Mapping[tuple[str, str], str]:
        """The headers as the application reads them: a JSON map, secret as a whole."""
        return {place: json.dumps(dict(headers), sort_keys=True) for place, headers in self.asked_with.items()}

    @property
    def launches(self) -> Mapping[tuple[str, str], str]:
        """The servers as the runner reads them; secret as a whole."""
        return {place: file_text(launch) for place, launch in self.servers.items()}

    def confirm_started(self, started: Mapping[str, str]) -> None:
        """Raise `ConfigError` where a server of `started` (name to key) is not what the report says it is.

        Its file is read once more for its secrets, and may be another by now, or not approved any more.
        """
        problems = [
            f"{name}: {one_line(key)} is gone, another, or not approved any more since the look; nothing was changed; "
            "look at it, and preview again"
            for name, key in started.items()
            if self.servers.get((name, key)) not in self._seen(name, key)
        ]
        if problems:
            raise ConfigError("\n".join(problems))

    def confirm_headers(self, wanted: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
        """Raise `ConfigError` where a server of `wanted` (name to key and names of headers) has others by now."""
        problems = [
            f"{name}: the headers of {one_line(key)} are gone, others, or not approved any more since the look; "
            "nothing was changed; look at it, and preview again"
            for name, (key, names) in wanted.items()
            if tuple(header for header, _ in self.asked_with.get((name, key), ())) != names
        ]
        if problems:
            raise ConfigError("\n".join(problems))

    def _seen(self, name: str, key: str) -> list[Launch]:
        candidates = [finding.candidate for finding in self.report.services[name].findings]
        return [
            candidate.launch
            for candidate in candidates
            if candidate.key == key and isinstance(candidate.launch, Launch)
        ]


def take(root: Path, settings: StackSettings, *, updating: bool = False) -> DeployLook:
    """Look once for this deployment of the project in `root`. Raises `ConfigError`.

    `updating`: what is seen is acted on, so this has to be the stack's only deployment. Raises `BusyError`.
    """
    if updating:
        deployment_lock.join(root, settings.stack, os.environ)
    config = load_discovery_config(root)
    home = Path.home()
    if settings.config.discovery == "snapshot":
        report = _snapshot(root, settings.stack)
    else:

        def live() -> Report:
            return look(request_for(root, settings), config)

        def with_notices() -> Report:
            seen = live()
            return replace(seen, warnings=(*seen.warnings, *notices_now(seen, tokens_of(settings))))

        report = one_look(root, settings.stack, with_notices, lambda seen: confirm(seen, live(), settings.wanted))
    texts = read_texts(report.agents, root, home)
    pins = _tool_pins(root, report, is_live=settings.config.discovery != "snapshot")
    if not any(
        isinstance(finding.candidate.launch, Launch) or finding.candidate.header_names
        for service in report.services.values()
        for finding in service.findings
    ):
        return DeployLook(report, config, texts, tool_pins=pins)
    request = request_for(root, settings)
    probes = (user_files, other_tools, project_files, npx)
    named = [candidate for probe in probes for candidate in probe(request).candidates]
    servers = {(one.service, one.key): one.launch for one in named if isinstance(one.launch, Launch)}
    return DeployLook(
        report,
        config,
        texts,
        servers,
        certificates=_certificates(settings) if servers else None,
        asked_with={(one.service, one.key): one.headers for one in named if one.headers},
        tool_pins=pins,
    )


def _tool_pins(root: Path, report: Report, *, is_live: bool) -> dict[str, str]:
    """The pins as the application reads them. Raises `ConfigError` where one is not what the look saw."""
    pins = read_tool_pins(root)
    # A snapshot says what the world was like; the pins that count are those beside it.
    if is_live and (others := {name: pin.sha256 for name, pin in pins.items()} | dict(report.tool_pins)):
        changed = [name for name in others if name not in pins or pins[name].sha256 != report.tool_pins.get(name)]
        if changed:
            raise ConfigError(
                "\n".join(f"{file_of(name)}:1: file: is another since the look; preview again" for name in changed)
            )
    return {name: pin.text for name, pin in pins.items()}


def tokens_of(settings: StackSettings) -> tuple[str, ...]:
    """The tokens of the stack's own gateway, each without the name that may stand before it."""
    secret = settings.secrets.get("gatewayTokens")
    return tuple(one.rpartition(":")[2] for one in secret.value.split()) if secret is not None else ()


def _certificates(settings: StackSettings) -> str | None:
    """What `packageCertificates` names. Raises `ConfigError` where it is no readable file of certificates."""
    name = settings.config.package_certificates
    if not name:
        return None
    where = f"Pulumi.{settings.stack}.yaml:1: packageCertificates"
    try:
        data = safe_files.read_file(Path(name), safe_files.Rules(max_bytes=_MAX_CERTIFICATES))
    except safe_files.UnsafeFile as error:
        raise ConfigError(f"{where}: {name} {error}; name a PEM file (or mend NODE_EXTRA_CA_CERTS)") from error
    if data is None or b"BEGIN CERTIFICATE" not in data:
        raise ConfigError(f"{where}: {name} holds no certificates; name a PEM file (or mend NODE_EXTRA_CA_CERTS)")
    return data.decode("ascii", errors="replace")


def confirm(seen: Report, now: Report, wanted: Collection[str]) -> None:
    """Raise `ConfigError` where what was selected in `seen` is not proved any more, or is another container.

    What else differs does not matter: what was previewed is what is applied.
    """
    problems = []
    for name in wanted:
        chosen = seen.services[name].selected if name in seen.services else None
        if chosen is None:
            continue
        endpoint = chosen.candidate.endpoint
        again = [found for found in now.services[name].findings if found.candidate.endpoint == endpoint]
        if not any(_is_the_same(found, chosen) for found in again):
            what = f"{again[0].verdict.value}: {again[0].reason}" if again else "not found"
            problems.append(
                f"{name}: {endpoint} ({chosen.candidate.evidence}) was verified in the preview and is another now "
                f"({what}); nothing was changed; preview again"
            )
    if problems:
        raise ConfigError("\n".join(problems))


def _is_the_same(found: Finding, chosen: Finding) -> bool:
    same_container = found.candidate.container_id == chosen.candidate.container_id
    return found.verdict is Verdict.VERIFIED and same_container


def request_for(root: Path, settings: StackSettings, budget_seconds: float = DEFAULT_BUDGET_SECONDS) -> Request:
    """What a look of this stack is asked, with the stack's checkpoint read."""
    environment, origins = settings.environment, settings.origins
    home = Path.home()
    production = settings.config.environment == "production"
    # The real environment only: a project's `.env` must not say which file holds the approvals.
    approvals, problem = approval_records.read(approval_records.path_of(os.environ, home), root.resolve())
    return Request(
        root=root,
        home=home,
        stack=settings.stack,
        project=settings.project,
        environment=environment,
        origins=origins,
        taken=settings.taken,
        warnings=settings.warnings,
        committed=settings.committed,
        port_offset=settings.config.port_offset,
        host_ports=_host_ports(settings),
        share=frozenset(settings.config.share),
        pins=settings.config.pin,
        host_commands=settings.config.allow_host_commands,
        other_tools=settings.config.other_tools,
        servers=tuple(name for name in settings.config.mcp_servers if name not in FINDABLE),
        approver=Approver(
            project=str(root.resolve()),
            servers=frozenset(settings.config.mcp_servers),
            variables={name: tuple(names) for name, names in settings.config.mcp_variables.items()},
            approvals=approvals,
            only_approved=production,
            problem=problem,
        ),
        only_named=production,
        # Nobody that a look finds is to be shown what was generated for this stack's own.
        credentials={
            # A model server's key is its secret by its configuration key; a provider's key is nobody's here.
            MODELS.name if name == MODELS.secret_key else name: Credential(secret.username, secret.value)
            for name, secret in settings.secrets.items()
            if not secret.is_own and name not in PROVIDER_KEYS
        },
        authorities=settings.authorities,
        # A stranger's Pulumi.yaml would say where Pulumi looks for a state, and take its token there.
        checkpoint=Checkpoint()
        if settings.is_elsewhere
        else read_checkpoint(root, settings.project, settings.stack, os.environ),
        # A `.env` that came with the project must not bring its own locks along.
        lock_dir=lock_folder({name: value for name, value in environment.items() if origins.get(name) != ".env"}),
        budget_seconds=budget_seconds,
    )


def _host_ports(settings: StackSettings) -> tuple[int, ...]:
    """Every port on which the stack may listen on the host."""
    offset = settings.config.port_offset
    published = [port.published for name in settings.declarable for port in SERVICES[name].ports if port.published]
    public = [settings.config.public_port] if "nginx" in settings.wanted else []
    if settings.tls is not None:
        public.append(settings.config.public_tls_port)
    relays = [relay_port(name, offset) for name in (*settings.wanted, *settings.config.mcp_servers)]
    return (*(port + offset for port in (*published, *public)), *relays)


def _snapshot(root: Path, stack: str) -> Report:
    file = f"snapshots/{stack}.json"
    try:
        return Report.from_json(json.loads((root / file).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}:1: file: {error}; write it with: python -m discovery --stack {stack} --write {file}"
        ) from error
