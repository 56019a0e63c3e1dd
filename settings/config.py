"""What can be set in the namespace `promptcraft-hybrid:` of a stack file, and the variables that stand for it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from catalog import RUNNER, SERVICES

# The variables of the environment and of `.env`, and the stack key that each stands for.
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
