"""The stack's settings: stack file, environment and `.env`, read once, with one precedence.

A value written in `Pulumi.<stack>.yaml` wins over the environment, which wins over `.env`, which wins over the
default in `Pulumi.yaml`. Everything after this file sees one frozen value.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from catalog import PROJECT, RUNNER, SERVICES
from errors import ConfigError
from image_references import Image, load_images
from reading import env_file, safe_files, strict_yaml
from tls import Entry, Tls, read_tls

SECRET_KEYS = (
    "grafanaPassword",
    "gatewayTokens",
    "embeddingsKey",
    "qdrantApiKey",
    "redisPassword",
    "zenMcpToken",
    "perplexityApiKey",
    "upstashRedisRestToken",
    "sentryAuthToken",
    "tlsKey",
)

# The guide's variables, and the stack key each stands for.
VARIABLES = {
    "ENABLE_MONITORING": "monitoring",
    "ENVIRONMENT": "environment",
    "LOG_LEVEL": "logLevel",
    "MAX_CONCURRENT_AGENTS": "maxConcurrentAgents",
    "AGENT_MEMORY_LIMIT": "agentMemoryMb",
    "MCP_RESOURCE_LIMIT": "mcpMemoryMb",
    # Where npm, uv and Node look for packages on this machine, the runner looks as well.
    "NPM_CONFIG_REGISTRY": "npmRegistry",
    "UV_DEFAULT_INDEX": "pythonIndex",
    "NODE_EXTRA_CA_CERTS": "packageCertificates",
    "MCP_VARIABLES": "mcpVariables",
    "GRAFANA_PASSWORD": "grafanaPassword",
    "GATEWAY_TOKENS": "gatewayTokens",
    "EMBEDDINGS_API_KEY": "embeddingsKey",
    "QDRANT_API_KEY": "qdrantApiKey",
    "REDIS_PASSWORD": "redisPassword",
    "ZEN_MCP_TOKEN": "zenMcpToken",
    "PERPLEXITY_API_KEY": "perplexityApiKey",
    "UPSTASH_REDIS_REST_TOKEN": "upstashRedisRestToken",
    "SENTRY_AUTH_TOKEN": "sentryAuthToken",
}

# Which of the services each secret opens.
OPENS = {
    "redisPassword": "redis",
    "qdrantApiKey": "qdrant",
    "zenMcpToken": "zen-mcp",
    "grafanaPassword": "grafana",
    "upstashRedisRestToken": "upstash",
}

# Where a preview names what it was given of its own making: as `generated` does, apart by spaces.
GENERATED_VARIABLE = "PROMPTCRAFT_GENERATED"

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _known(service: str) -> str:
    if service not in SERVICES:
        raise ValueError(f"is not a service; use one of {', '.join(SERVICES)}")
    return service


def _limited(service: str) -> str:
    return service if service == RUNNER.name else _known(service)


def _server(name: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name) is None:
        raise ValueError("is not a server's name; use lower-case letters, digits and '-'")
    return name


def _variable(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name) is None:
        raise ValueError("is not the name of an environment variable; use letters, digits and '_'")
    return name


def _named_for_servers(value: object) -> object:
    """The map as it stands; from a line of `.env`, `server:NAME,NAME server:NAME`, the map that it means."""
    if not isinstance(value, str):
        return value
    named: dict[str, list[str]] = {}
    for word in value.split():
        server, colon, names = word.partition(":")
        if not colon:
            raise ValueError("names no server's variables; write server:NAME,NAME and a space before the next server")
        named.setdefault(server, []).extend(names.split(","))
    return named


def _registry(url: str) -> str:
    if url and re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/%+-]*)?", url) is None:
        raise ValueError("is not a registry's address; write http(s)://host[:port][/path], without a login or a query")
    return url


def _gateway_variable(name: str) -> str:
    if _GATEWAY_VARIABLE.fullmatch(name) is None:
        raise ValueError("is not the application's to be set here; docs/gateway.md lists its variables")
    return name


# What a person may tune. The program itself sets where things lie, and secrets come as secrets.
_GATEWAY_VARIABLE = re.compile(
    r"PROMPTCRAFT_(AGENT_(SERVER|TOOL|PROMPT_ARGUMENT|MODEL_ARGUMENT|ARGUMENTS)|(RUN|QUEUE|CACHE|BODY|CHECK)_SECONDS"
    r"|QUEUE_LIMIT|STORE_MIB|SESSION_(TURNS|BYTES|SECONDS)|EMBEDDINGS_(URL|MODEL)|SIMILAR_DAYS)"
    r"|OTEL_(?!.*(HEADERS|KEY|CERTIFICATE))[A-Z_]+"
)
ServiceName = Annotated[str, AfterValidator(_known)]
GatewayVariable = Annotated[str, AfterValidator(_gateway_variable)]
# YAML reads 60 as a number; a variable is text.
GatewayValue = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]
LimitedName = Annotated[str, AfterValidator(_limited)]
ServerName = Annotated[str, AfterValidator(_server)]
RegistryUrl = Annotated[str, AfterValidator(_registry)]
VariableName = Annotated[str, AfterValidator(_variable)]
ServerVariables = Annotated[dict[ServerName, list[VariableName]], BeforeValidator(_named_for_servers)]

# Lower case, at least two labels, the last one not a number: an IP address is no name that TLS could ask for.
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)+(?!\d+$){_LABEL}")


def _host_name(name: str) -> str:
    if not _HOST_NAME.fullmatch(name):
        raise ValueError("is not a host name; write it like craft.example.com, without port or wildcard")
    return name


HostName = Annotated[str, AfterValidator(_host_name)]


class StackConfig(BaseModel):
    """What can be set in the namespace `promptcraft-hybrid:` of a stack file. Memory in MiB, disk in GB."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    services: list[ServiceName] = Field(min_length=1)
    expected_outside: list[ServiceName]
    fallback: bool
    memory_budget_mb: int = Field(gt=0)
    disk_budget_gb: int = Field(gt=0)
    monitoring: bool
    load_balancer: bool
    replicas: int = Field(ge=1, le=50)
    engine: Literal["docker", "swarm"]
    environment: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    public_port: int = Field(ge=1, le=65535)
    public_tls_port: int = Field(ge=1, le=65535)
    public_hosts: list[HostName]
    tls_certificate: str
    port_offset: int = Field(ge=0, le=50000)
    discovery: Literal["live", "snapshot"]
    pin: dict[str, str]
    share: list[ServiceName]
    images: dict[ServiceName, str]
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    use_if_named: list[ServiceName]
    mcp_servers: list[ServerName]
    mcp_variables: ServerVariables
    runner: bool
    allow_host_commands: bool
    memory_limits: dict[LimitedName, Annotated[int, Field(ge=16, le=1_048_576)]]
    gateway: dict[GatewayVariable, GatewayValue]
    generated: dict[str, str]
    npm_registry: RegistryUrl
    python_index: RegistryUrl
    package_certificates: str
    max_concurrent_agents: int | None = Field(default=None, ge=1, le=1000)
    agent_memory_mb: int = Field(default=2048, ge=64)
    mcp_memory_mb: int = Field(default=1024, ge=64)
    ca_file: str | None = None


@dataclass(frozen=True)
class Secret:
    """A secret and, for a login, its user name. Neither is ever printed.

    `is_own` when it was generated: it opens what this stack runs, and nobody else is ever shown it.
    """

    value: str = field(repr=False)
    username: str | None = field(default=None, repr=False)
    is_own: bool = False


def fingerprint(secret: str) -> str:
    """What tells a generated secret from one that a person set; it is too random to be guessed back from this."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:32]}"


@dataclass(frozen=True)
class StackSettings:
    """All that a stack is told. `environment` is the process environment over `.env`; `origins` says which.

    `authorities` are the certificates (PEM) of those that sign for external services, besides the machine's own.
    `secrets` is keyed by the service they open (`redis`, `qdrant`, `zen-mcp`, `grafana`) or, for the application's
    own tokens, keys of cloud servers and the load balancer's `tlsKey`, by their configuration key.
    """

    stack: str
    config: StackConfig
    images: Mapping[str, Image]
    environment: Mapping[str, str] = field(repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    authorities: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    project: str = PROJECT

    @property
    def wanted(self) -> tuple[str, ...]:
        """The services this stack uses, in catalog order."""
        return tuple(name for name in SERVICES if name in {*self.declarable, *self.config.use_if_named})

    @property
    def declarable(self) -> tuple[str, ...]:
        """The services that this stack runs itself where nobody else does, in catalog order."""
        names = set(self.config.services)
        if self.config.monitoring:
            names |= {"prometheus", "grafana"}
        if self.config.load_balancer:
            names.add("nginx")
        names |= set(self.config.expected_outside)
        return tuple(name for name in SERVICES if name in names)


@dataclass(frozen=True)
class _Value:
    """A configured value and where it was written (`file:line`), for error messages."""

    value: Any
    where: str


def load_settings(
    root: Path, stack: str, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> StackSettings:
    """Read the settings of `stack` from the project folder `root`.

    `overrides` is the configuration as Pulumi's engine hands it to its program (full keys, JSON text, secrets
    decrypted). Raises `ConfigError` with one line for each problem.
    """
    variables = _read_dotenv(root)
    environment = {name: variable.value for name, variable in variables.items()} | dict(environ)
    origins = {name: "environment" if name in environ else ".env" for name in environment}

    defaults = _read_defaults(root)
    written = _read_stack_file(root, stack)
    secrets = _from_engine(overrides or {}, written, defaults)
    values = defaults | _from_environment(environment, origins, variables) | written
    plain = {key: value for key, value in values.items() if key not in SECRET_KEYS}
    config = _validated(plain, f"Pulumi.{stack}.yaml")
    tls = read_tls(
        root,
        Entry(config.tls_certificate, values["tlsCertificate"].where),
        _key_entry(written.get("tlsKey"), secrets.pop("tlsKey", None)),
        config.public_hosts,
    )
    return StackSettings(
        stack=stack,
        config=config,
        images=load_images(root, config.images),
        environment=environment,
        origins=origins,
        secrets=_secrets(
            secrets,
            environment,
            f"Pulumi.{stack}.yaml",
            {*config.generated.values(), *environment.get(GENERATED_VARIABLE, "").split()},
        )
        | ({"tlsKey": Secret(tls.key)} if tls and tls.key else {}),
        authorities=_authorities(root, config.ca_file, values["caFile"].where) if config.ca_file else None,
        tls=tls,
    )


_MAX_BYTES = 64 * 1024


def _read(root: Path, file: str) -> bytes | None:
    """A file of the project's, or None where there is none; never a pipe, never more than 64 KiB."""
    try:
        return safe_files.read_file(root / file, safe_files.Rules(max_bytes=_MAX_BYTES))
    except safe_files.UnsafeFile as error:
        raise ConfigError(f"{file}:1: file: {error}; replace it by a plain file") from error


def _authorities(root: Path, file: str, where: str) -> str:
    """The certificates in `file`, a path from the project's folder. Raises `ConfigError` where there are none."""
    data = _read(root, file)
    if data is None:
        raise ConfigError(f"{where}: caFile: {file!r} does not exist; name a PEM file by its path from the project")
    try:
        text = data.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError(f"{where}: caFile: {file!r} holds no certificate; name a PEM file of authorities") from error
    if "PRIVATE KEY" in text:
        raise ConfigError(f"{where}: caFile: {file!r} holds a private key as well; keep certificates only in it")
    return text


def _read_dotenv(root: Path) -> dict[str, env_file.Variable]:
    data = _read(root, ".env")
    if data is None:
        return {}
    try:
        return env_file.parse(data.decode("utf-8"), ".env")
    except UnicodeDecodeError as error:
        raise ConfigError(".env:1: file: is not UTF-8; save it as UTF-8 text") from error


def _read_yaml(root: Path, file: str) -> strict_yaml.Document | None:
    data = _read(root, file)
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


def _read_defaults(root: Path) -> dict[str, _Value]:
    """The defaults that `Pulumi.yaml` declares, so that they stand in one place only."""
    document = _read_yaml(root, "Pulumi.yaml")
    if document is None:
        raise ConfigError("Pulumi.yaml:1: file: is missing; run this in the project's folder, or name it with --root")
    return {
        key: _Value(entry["default"], f"Pulumi.yaml:{document.line(('config', key))}")
        for key, entry in _section(document, "Pulumi.yaml").items()
        if isinstance(entry, dict) and "default" in entry
    }


def _read_stack_file(root: Path, stack: str) -> dict[str, _Value]:
    """What the stack file says in our namespace; another namespace is its provider's to check."""
    name = f"Pulumi.{stack}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", stack):
        raise ConfigError(f"{name[:80]!r}:1: stack: not a stack's name; use letters, digits and hyphens")
    document = _read_yaml(root, name)
    if document is None:
        return {}
    config = _section(document, name)
    prefix = f"{PROJECT}:"
    return {
        key.removeprefix(prefix): _Value(
            _as_written(key.removeprefix(prefix), value), f"{name}:{document.line(('config', key))}"
        )
        for key, value in config.items()
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


def _from_engine(
    overrides: Mapping[str, str], written: dict[str, _Value], defaults: Mapping[str, _Value]
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
            written[key] = _Value(value, "pulumi config")
    return secrets


def _from_text(text: str, like: Any) -> Any:
    """A configuration text as the type of `like`, or the text itself where it is not one."""
    if isinstance(like, str):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _from_environment(
    environment: Mapping[str, str], origins: Mapping[str, str], variables: Mapping[str, env_file.Variable]
) -> dict[str, _Value]:
    values = {}
    for variable, key in VARIABLES.items():
        text = environment.get(variable, "").strip()
        if not text or key in SECRET_KEYS:
            continue
        where = f".env:{variables[variable].line}" if origins[variable] == ".env" else f"environment: {variable}"
        values[key] = _Value(_typed(key, text), where)
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


def _validated(values: Mapping[str, _Value], file: str) -> StackConfig:
    try:
        return StackConfig.model_validate({key: value.value for key, value in values.items()})
    except ValidationError as invalid:
        raise ConfigError("\n".join(_problem(dict(error), values, file) for error in invalid.errors())) from invalid


def _problem(error: Mapping[str, Any], values: Mapping[str, _Value], file: str) -> str:
    key = str(error["loc"][0])
    where = values[key].where if key in values else f"{file}:1"
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = ", ".join(sorted(defined.alias or name for name, defined in StackConfig.model_fields.items()))
        return f"{where}: {path}: unknown key; remove it or use one of: {known}"
    shown = repr(error["input"])[:80]
    message = str(error["msg"]).removeprefix("Value error, ")
    return (
        f"{where}: {path}: {shown} is refused: {message[:1].lower()}{message[1:]}; correct the value or remove the key"
    )


def _key_entry(written: _Value | None, decrypted: str | None) -> Entry | None:
    """`tlsKey` as far as it is known; a secret's text is there only where Pulumi's engine decrypted it."""
    if written is None:
        return Entry(decrypted, "pulumi config") if decrypted else None
    if isinstance(written.value, str):
        return Entry(written.value, written.where, in_the_open=True)
    return Entry(decrypted, written.where)


def _secrets(
    configured: Mapping[str, str], environment: Mapping[str, str], file: str, generated: Collection[str]
) -> dict[str, Secret]:
    """Secrets by the service they open; the stack's own win over the environment's."""
    found = {key: environment[variable] for variable, key in VARIABLES.items() if environment.get(variable)}
    keys = {key: value for key, value in found.items() if key in SECRET_KEYS} | dict(configured)
    secrets = {key: Secret(value, is_own=fingerprint(value) in generated) for key, value in keys.items() if value}
    if "gatewayTokens" in secrets:
        where = file if configured.get("gatewayTokens") else "environment: GATEWAY_TOKENS"
        _check_tokens(secrets["gatewayTokens"].value.split(), where)
    for key, service in OPENS.items():
        if key in secrets:
            secrets[service] = secrets.pop(key)
    if "redis" not in secrets and (login := _redis_login(environment.get("REDIS_URL", ""))):
        secrets["redis"] = login
    return secrets


# The container knows a token by a hash that is quick to compute: a short one could be guessed back from it.
_SHORTEST_TOKEN = 16


def _check_tokens(tokens: list[str], where: str) -> None:
    for number, token in enumerate(tokens, start=1):
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
            raise ConfigError(
                f"{where}: gatewayTokens: token {number} of {len(tokens)} is shorter than {_SHORTEST_TOKEN} "
                "characters or not plain ASCII; make one: openssl rand -hex 24"
            )


def _redis_login(url: str) -> Secret | None:
    """The login inside `redis://user:password@host`; a malformed URL is discovery's to report."""
    try:
        parts = urlsplit(url.strip())
        password, username = parts.password, parts.username
    except ValueError:
        return None
    return Secret(unquote(password), unquote(username) if username else None) if password else None
