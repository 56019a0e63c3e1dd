"""What can be set in the namespace `promptcraft-hybrid:` of a stack file, and the variables that stand for it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from catalog import AGENTS, LOCAL, MODELS, PROVIDERS, RUNNER, SERVICES, stdio_name

_TUNING = {
    "ENABLE_MONITORING": "monitoring",
    "ENVIRONMENT": "environment",
    "LOG_LEVEL": "logLevel",
    "MAX_CONCURRENT_AGENTS": "maxConcurrentAgents",
    "AGENT_MEMORY_LIMIT": "agentMemoryMb",
    "MCP_RESOURCE_LIMIT": "mcpMemoryMb",
}
# The variables that a `.env` may set whoever wrote it: they approve nobody, send nothing, and are no secrets.
TUNING = frozenset(_TUNING)
# The variables of the environment and of `.env`, and the stack key that each stands for.
VARIABLES = {
    **_TUNING,
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
    **{provider.variable: provider.secret_key for provider in PROVIDERS.values()},
    "CUSTOM_API_KEY": "modelsKey",
}


def _known(service: str) -> str:
    if service not in SERVICES:
        raise ValueError(f"is not a service; use one of {', '.join(SERVICES)}")
    return service


def _findable(service: str) -> str:
    return service if service == MODELS.name else _known(service)


def _model_word(word: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}", word) is None:
        raise ValueError("is not what an agent calls a model; write it like opus or claude-opus-5-5, without [1m]")
    return word


def _model(target: str) -> str:
    provider, colon, model = target.partition(":")
    if not colon or provider not in (*PROVIDERS, LOCAL):
        raise ValueError(f"names no provider; write provider:model, with one of {', '.join((*PROVIDERS, LOCAL))}")
    if not model.strip() or not model.isprintable() or len(model) > _MAX_MODEL:
        raise ValueError("names no model; write provider:model")
    return target


def _limited(service: str) -> str:
    # The container of a server that comes as an image; which those are, only a look can say.
    of_its_own = service.endswith(stdio_name("")) and _server(service)
    return service if service == RUNNER.name or of_its_own else _known(service)


def _server(name: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name) is None:
        raise ValueError("is not a server's name; use lower-case letters, digits and '-'")
    if name == AGENTS:
        raise ValueError("stands for agents among the tools; give the server another name")
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


def _caller(name: str) -> str:
    # Wider than a token's name: an issuer calls people as it likes (`auth0|5f7c8ec7`, `anna@example.com`).
    if not name.isprintable() or " " in name or not 0 < len(name) <= _MAX_CALLER:
        raise ValueError("is not a caller's name; write that of a token (NAME:TOKEN in gatewayTokens), without spaces")
    return name


def _tool_glob(glob: str) -> str:
    if re.fullmatch(r"[!-~]{1,200}", glob) is None or not ("__" in glob or "*" in glob):
        raise ValueError(
            "is not server__tool; write context7__* for all tools of a server, context7__get-* for some, agent__NAME "
            "for an agent, '*' for everything"
        )
    return glob


def _registry(url: str) -> str:
    if url and re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/%+-]*)?", url) is None:
        raise ValueError("is not a registry's address; write http(s)://host[:port][/path], without a login or a query")
    return url


def _gateway_variable(name: str) -> str:
    if _GATEWAY_VARIABLE.fullmatch(name) is None:
        raise ValueError("is not the application's to be set here; docs/configuration.md lists its variables")
    return name


_MAX_MODEL = 200
_MAX_CALLER = 128
# What a person may tune. The program itself sets where things lie, and secrets come as secrets.
_GATEWAY_VARIABLE = re.compile(
    r"PROMPTCRAFT_(AGENT_(SERVER|TOOL|PROMPT_ARGUMENT|MODEL_ARGUMENT|ARGUMENTS)|(RUN|QUEUE|CACHE|BODY|CHECK)_SECONDS"
    r"|QUEUE_LIMIT|ANSWER_MIB|(CALLER|SERVER)_(CALLS|AT_ONCE)"
    r"|(RUN|DAY)_TOKENS|RUN_TURNS|STORE_MIB|SESSION_(TURNS|BYTES|SECONDS)|EMBEDDINGS_(URL|MODEL)|SIMILAR_DAYS)"
    r"|OTEL_(?!.*(HEADERS|KEY|CERTIFICATE))[A-Z_]+"
)


def called(words: str) -> WithJsonSchema:
    """What docs/configuration.md calls such a text; several of them with an `s`."""
    return WithJsonSchema({"type": "string", "format": words})


ModelWord = Annotated[str, AfterValidator(_model_word), called("name of a model")]
ModelTarget = Annotated[str, AfterValidator(_model), called("`provider:model`")]
FindableName = Annotated[str, AfterValidator(_findable), called("service or `models`")]
ServiceName = Annotated[str, AfterValidator(_known), called("service")]
GatewayVariable = Annotated[str, AfterValidator(_gateway_variable), called("application variable")]
# YAML reads 60 as a number; a variable is text.
GatewayValue = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]
LimitedName = Annotated[str, AfterValidator(_limited), called("service, `runner` or `NAME-stdio`")]
ServerName = Annotated[str, AfterValidator(_server), called("server name")]
CallerName = Annotated[str, AfterValidator(_caller), called("caller")]
ToolGlob = Annotated[str, AfterValidator(_tool_glob), called("`server__tool` glob")]
RegistryUrl = Annotated[str, AfterValidator(_registry), called("registry address")]
VariableName = Annotated[str, AfterValidator(_variable), called("variable name")]
ServerVariables = Annotated[dict[ServerName, list[VariableName]], BeforeValidator(_named_for_servers)]

# Lower case, at least two labels, the last one not a number: an IP address is no name that TLS could ask for.
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)+(?!\d+$){_LABEL}")


def _host_name(name: str) -> str:
    if not _HOST_NAME.fullmatch(name):
        raise ValueError("is not a host name; write it like craft.example.com, without port or wildcard")
    return name


HostName = Annotated[str, AfterValidator(_host_name), called("host name")]
File = Annotated[str, called("path")]


def _issuer(url: str) -> str:
    if re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/%+-]*)?", url) is None:
        raise ValueError("is not an issuer's address; write https://host[:port][/path], as its tokens have it in iss")
    return url


def _scope(scope: str) -> str:
    # RFC 6749, 3.3.
    if re.fullmatch(r"[!#-\[\]-~]{1,200}", scope) is None:
        raise ValueError("is not a scope; write one word for each")
    return scope


IssuerUrl = Annotated[str, AfterValidator(_issuer), called("issuer")]
ScopeName = Annotated[str, AfterValidator(_scope), called("scope")]


class OAuth(BaseModel):
    """The authorization server whose tokens the application takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    issuer: IssuerUrl = Field(description="Its issuer, to the letter as its tokens have it in `iss`.")
    audience: str = Field(min_length=1, max_length=512, description="What the tokens must have in `aud`.")
    scopes: list[ScopeName] = Field(default=[], description="What they must have in `scope`, all of it.")
    caller_claim: str = Field(
        default="sub", min_length=1, max_length=128, description="The claim that names the caller, for `access`."
    )


class StackConfig(BaseModel):
    """What can be set in the namespace `promptcraft-hybrid:` of a stack file. Memory in MiB, disk in GB."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    services: list[ServiceName] = Field(min_length=1, examples=[["promptcraft", "redis"]])
    expected_outside: list[ServiceName] = Field(examples=[["qdrant"]])
    fallback: bool
    memory_budget_mb: int = Field(gt=0)
    disk_budget_gb: int = Field(gt=0)
    monitoring: bool
    load_balancer: bool
    replicas: int = Field(ge=1, le=50)
    engine: Literal["docker", "swarm"]
    environment: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,31}$",
        json_schema_extra={"format": "text of lower-case letters, digits and `-`, at most 32 characters"},
    )
    public_port: int = Field(ge=1, le=65535)
    public_tls_port: int = Field(ge=1, le=65535)
    public_hosts: list[HostName] = Field(examples=[["craft.example.com"]])
    tls_certificate: File = Field(examples=["/etc/letsencrypt/live/craft.example.com/fullchain.pem"])
    port_offset: int = Field(ge=0, le=50000)
    discovery: Literal["live", "snapshot"]
    pin: dict[Annotated[str, called("service or server name")], Annotated[str, called("text")]] = Field(
        examples=[{"qdrant": "http://10.0.0.5:6333", "zen-mcp": "deployed"}]
    )
    share: list[ServiceName] = Field(examples=[["qdrant", "zen-mcp"]])
    images: dict[ServiceName, Annotated[str, called("image reference")]] = Field(
        examples=[{"redis": "redis:7.4.2-alpine"}]
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    use_if_named: list[FindableName] = Field(examples=[["redis", "models"]])
    models: dict[ModelWord, ModelTarget] = Field(
        examples=[{"opus": "anthropic:claude-opus-5-5", "haiku": "local:llama3.2:latest", "default": "xai:grok-4.7"}]
    )
    mcp_servers: list[ServerName] = Field(examples=[["context7", "docs"]])
    mcp_variables: ServerVariables = Field(examples=[{"docs": ["DOCS_TOKEN", "DOCS_TEAM"]}])
    runner: bool
    allow_host_commands: bool
    other_tools: bool
    memory_limits: dict[LimitedName, Annotated[int, Field(ge=16, le=1_048_576)]] = Field(
        examples=[{"redis": 256, "runner": 408, "docs-stdio": 256}]
    )
    gateway: dict[GatewayVariable, GatewayValue] = Field(examples=[{"PROMPTCRAFT_QUEUE_SECONDS": "60"}])
    generated: dict[Annotated[str, called("secret")], Annotated[str, called("fingerprint")]] = Field(
        examples=[{"redisPassword": "sha256:0123456789abcdef0123456789abcdef"}]
    )
    npm_registry: RegistryUrl = Field(examples=["https://npm.example.com/"])
    python_index: RegistryUrl = Field(examples=["https://python.example.com/simple"])
    package_certificates: File = Field(examples=["authorities.pem"])
    # What has no default in Pulumi.yaml is described here: Pulumi wants a value for every key that stands there.
    max_concurrent_agents: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="How many agents run at once, in all replicas together; "
        "if not set, `resource_limits.max_concurrent_agents` of `.mcp/discovery-config.yaml`.",
    )
    agent_memory_mb: int = Field(
        default=2048,
        ge=64,
        description="Memory limit that the application keeps in each of its containers, in MiB. "
        "The container's own limit counts if it is lower.",
    )
    mcp_memory_mb: int = Field(
        default=1024,
        ge=64,
        description="Memory meant for MCP servers, in MiB. `/api/discovery/status` shows it; nothing enforces it.",
    )
    access: dict[CallerName, list[ToolGlob]] | None = Field(
        default=None,
        description="What each caller may see and call. If not set, everything in development; in production agents "
        "at the API, and nothing at `/mcp`.",
        examples=[{"ci": ["agent__code-reviewer", "context7__*"]}],
    )
    oauth: OAuth | None = Field(
        default=None,
        description="An authorization server whose tokens are taken, besides `gatewayTokens`.",
        examples=[{"issuer": "https://login.example.com/", "audience": "https://craft.example.com/mcp"}],
    )
    ca_file: File | None = Field(
        default=None,
        description="A PEM file of certificate authorities that are trusted for services that run elsewhere.",
        examples=["authorities.pem"],
    )
