"""The project's own configuration files, read strictly: `.mcp/discovery-config.yaml`, `.agents/discovery-config.yaml`.

Broken configuration of ours is an error before anything else happens, with every problem of the file in it.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from catalog import AGENTS
from discovery.report import Source
from reading import endpoints, safe_files, strict_yaml
from reading.strict_yaml import Document, Problem
from reading.text import shown
from settings.config import ModelWord, called

SERVERS_FILE = ".mcp/discovery-config.yaml"
AGENTS_FILE = ".agents/discovery-config.yaml"
AUTO_DISCOVER = "auto_discover"
MANAGED = "managed"
USER = "user_override"
PROJECT_CORE = "project_core"
PROJECT_SPECIFIC = "project_specific"
CLAUDE_PROJECT = "claude_project"
CLAUDE_PLUGIN = "claude_plugin"
BUNDLED = "bundled_default"
# The default order, the first to win. A user's own agents come before whatever a repository brings.
AGENT_TIERS = (MANAGED, USER, PROJECT_CORE, PROJECT_SPECIFIC, CLAUDE_PROJECT, CLAUDE_PLUGIN, BUNDLED)
# What whoever pushed last has written.
REPOSITORY_TIERS = frozenset({PROJECT_CORE, PROJECT_SPECIFIC, CLAUDE_PROJECT, BUNDLED})

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SOURCE_WORDS = {source.value: source for source in Source} | {"docker_sidecar": Source.DOCKER}
_TIER_WORDS = {tier: tier for tier in AGENT_TIERS} | {"bundled_defaults": "bundled_default"}


def is_name(text: str) -> bool:
    """Whether `text` may name a server or an agent: it becomes part of file, container and label names."""
    return _NAME.fullmatch(text) is not None


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("is not a valid name; use lower-case letters, digits and '-', at most 63 characters")
    return text


def _ordered(value: object) -> object:
    """A list as it stands; a map `1: first`, `2: second` as the list of its values in the order of its numbers."""
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        raise ValueError("must be a list, or a map as '1: external_deployment'")
    wrong = [key for key in value if not re.fullmatch(r"[1-9][0-9]{0,2}", key)]
    if wrong:
        raise ValueError(f"has the key {shown(wrong[0])}; number its entries 1, 2, 3, …")
    return tuple(value[key] for key in sorted(value, key=int))


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("is empty; list at least one entry or remove the key")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"names {value} twice; keep one")
    return values


def _word(words: Mapping[str, Any], value: object) -> Any:
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"is not a known entry; write one of {', '.join(words)}")
    return words[value]


def _source(value: object) -> Source:
    if isinstance(value, str) and value in _TIER_WORDS:
        raise ValueError(f"is a word for agents; write one of {', '.join(_SOURCE_WORDS)}")
    return value if isinstance(value, Source) else _word(_SOURCE_WORDS, value)


def _tier(value: object) -> str:
    return str(_word(_TIER_WORDS, value))


def _http_url(text: str) -> str:
    return endpoints.normalise_endpoint(text)


def _package(text: str) -> str:
    if not endpoints.is_package(text):
        raise ValueError("is not an npm package name; write it as name, @scope/name or name@1.2.3")
    return text


def _variable(text: str) -> str:
    if _VARIABLE.fullmatch(text) is None:
        raise ValueError("is not the name of an environment variable; use letters, digits and '_'")
    return text


def _identity(text: str) -> str:
    if not text.isprintable() or not 0 < len(text.strip()) <= 100:
        raise ValueError("is not a server's name; write 1 to 100 printable characters")
    return text.strip().casefold()


# At least two labels, the last one not a number: an address is no name that a list of names could hold.
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_EGRESS_NAME = re.compile(rf"(?=.{{1,253}}$)(\*\.)?({_LABEL}\.)+(?![0-9]+$){_LABEL}")
_MOST_NAMES = 64


def _egress(value: object) -> object:
    """`internet` is None, `none` no name at all, and a list its names."""
    if value in ("internet", "none"):
        return None if value == "internet" else ()
    if not isinstance(value, list | tuple):
        raise ValueError("is neither 'none', 'internet' nor a list of names")
    if not 0 < len(value) <= _MOST_NAMES:
        raise ValueError(f"has {len(value)} names; write 1 to {_MOST_NAMES}, or 'none'")
    return tuple(value)


def _server(text: str) -> str:
    if text == AGENTS:
        raise ValueError("stands for agents among the tools; give the server another name")
    return _name(text)


def _egress_name(text: str) -> str:
    if _EGRESS_NAME.fullmatch(text) is None:
        raise ValueError("is not a host name; write it like api.example.com or *.example.com, in lower case")
    return text


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _dependency(text: str) -> str:
    if text == AUTO_DISCOVER:
        return text
    try:
        return endpoints.host_and_port(text)
    except endpoints.EndpointError as error:
        raise ValueError(f"{error} (or {AUTO_DISCOVER})") from error


def _service_names(value: object) -> object:
    """People write services both as `zen-mcp` and as `zen_mcp`."""
    if not isinstance(value, dict):
        return value
    names = {key: key.replace("_", "-") for key in value}
    if len(set(names.values())) < len(names):
        raise ValueError("names the same service with '_' and with '-'; keep one")
    return {names[key]: entry for key, entry in value.items()}


DEFAULT_MODEL_LIMITS: Mapping[str, int] = {"opus": 3, "sonnet": 8, "haiku": 15}


def _over_defaults(limits: Mapping[str, int]) -> Mapping[str, int]:
    return {**DEFAULT_MODEL_LIMITS, **limits}


Name = Annotated[str, AfterValidator(_name), called("name")]
ServerName = Annotated[str, AfterValidator(_server), called("name")]
SourceOrder = Annotated[
    tuple[Annotated[Source, BeforeValidator(_source)], ...], BeforeValidator(_ordered), AfterValidator(_distinct)
]
TierOrder = Annotated[
    tuple[Annotated[str, BeforeValidator(_tier), WithJsonSchema({"enum": list(AGENT_TIERS)})], ...],
    BeforeValidator(_ordered),
    AfterValidator(_distinct),
]
Identities = Annotated[tuple[Annotated[str, AfterValidator(_identity)], ...], BeforeValidator(_as_tuple)]
Egress = Annotated[
    tuple[Annotated[str, AfterValidator(_egress_name), called("host name or `*.` and one")], ...] | None,
    BeforeValidator(_egress),
]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Resources(_Strict):
    """What a server may use. None: the catalogue's figure stands."""

    memory_mb: Annotated[int, Field(ge=8, le=1_048_576)] | None = Field(
        default=None,
        description="Memory limit in MiB of a service that the stack runs, instead of the catalog's; the stack's "
        "`memoryLimits` wins over it.",
    )
    cpu_cores: Annotated[float, Field(gt=0, le=1024)] | None = Field(
        default=None, description="CPU limit in cores of a service that the stack runs, instead of the catalog's."
    )


class Dependencies(_Strict):
    """Services by name: `host:port`, or `auto_discover` for what the same look finds."""

    services: Annotated[
        Mapping[Name, Annotated[str, AfterValidator(_dependency), called(f"`host:port` or `{AUTO_DISCOVER}`")]],
        BeforeValidator(_service_names),
    ] = Field(default_factory=dict, description="Services by name. `auto_discover` is what discovery chose.")


class ServerConfig(_Strict):
    """One server of `.mcp/discovery-config.yaml`."""

    priority_order: SourceOrder | None = Field(
        default=None,
        description="The sources that may serve it, the preferred one first. `docker_sidecar` is another word for "
        "`docker_service`.",
    )
    identities: Identities = Field(
        default=(), description="The names under which the server introduces itself, if they differ from its own."
    )
    url: Annotated[str, AfterValidator(_http_url), called("http(s) address")] | None = Field(
        default=None, description="Where it runs. It is used there after you approve it."
    )
    package: Annotated[str, AfterValidator(_package), called("npm package")] | None = Field(
        default=None, description="What the runner starts after you approve it; best with an exact version."
    )
    key_variable: Annotated[str, AfterValidator(_variable), called("variable name")] | None = Field(
        default=None, description="The environment variable without which `package` does not work."
    )
    arguments: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], BeforeValidator(_as_tuple)] = Field(
        default=(), description="What the program of `package` is started with. No secrets: the file is everybody's."
    )
    egress: Egress = Field(
        default=None,
        description="Where the server may go, if a container of the stack runs it: `none`, `internet` (the default) or "
        "a list of names such as `api.example.com` and `*.example.com`.",
    )
    resource_requirements: Resources | None = None
    dependencies: Dependencies = Field(
        default_factory=Dependencies, description="What the server uses. It is checked; nothing acts on it."
    )

    @property
    def as_written(self) -> dict[str, Any]:
        """What of it decides on what is started and called, as plain JSON values."""
        keys = {"url", "package", "key_variable", "arguments", "identities", "egress"}
        return self.model_dump(mode="json", include=keys, exclude_defaults=True)


class ResourceLimits(_Strict):
    """Limits of the whole stack and of the gateway."""

    total_memory_mb: Annotated[int, Field(ge=64, le=16_777_216)] = Field(
        default=2048, description="Memory in MiB. `/api/discovery/status` shows it; the limit is `memoryBudgetMb`."
    )
    max_concurrent_agents: Count = Field(
        default=10, description="How many agents run at once; the stack's `maxConcurrentAgents` wins over it."
    )
    model_limits: Annotated[Mapping[ModelWord, Count], AfterValidator(_over_defaults)] = Field(
        default_factory=lambda: {**DEFAULT_MODEL_LIMITS},
        description="How many agents of one model run at once, by what the agents call it. Defaults: "
        + ", ".join(f"{model} {count}" for model, count in DEFAULT_MODEL_LIMITS.items())
        + ".",
    )


class DiscoveryConfig(_Strict):
    """`.mcp/discovery-config.yaml`; every key of it is optional."""

    servers: Mapping[ServerName, ServerConfig] = Field(
        default_factory=dict,
        description="MCP servers, and the catalog's services, by name.",
        examples=[
            {
                "qdrant": {
                    "priority_order": ["external_deployment", "docker_service"],
                    "resource_requirements": {"memory_mb": 512, "cpu_cores": 1.0},
                },
                "docs": {"url": "https://docs.example.com/mcp", "identities": ["docs-server"]},
                "weather": {
                    "package": "@example/weather-mcp@1.2.3",
                    "key_variable": "WEATHER_KEY",
                    "arguments": ["--units", "metric"],
                    "egress": ["api.weather.example.com"],
                },
            }
        ],
    )
    resource_limits: ResourceLimits = Field(
        default_factory=ResourceLimits,
        examples=[{"max_concurrent_agents": 10, "model_limits": {"opus": 3}}],
    )


class AgentConfig(_Strict):
    """One agent of `.agents/discovery-config.yaml`."""

    priority_order: TierOrder | None = Field(
        default=None, description="The tiers that may define it, the preferred one first."
    )
    dependencies: Dependencies = Field(
        default_factory=Dependencies, description="What the agent needs. Without it, the agent is not available."
    )


class AgentsConfig(_Strict):
    """`.agents/discovery-config.yaml`."""

    agents: Mapping[Name, AgentConfig] = Field(
        default_factory=dict,
        description="Agents by id, which is made of their name.",
        examples=[
            {
                "ai-engineer": {
                    "priority_order": ["project_specific", "user_override"],
                    "dependencies": {"services": {"qdrant": "auto_discover", "zen_mcp": "10.0.0.5:8000"}},
                }
            }
        ],
    )


_Model = TypeVar("_Model", DiscoveryConfig, AgentsConfig)


def load_discovery_config(root: Path) -> DiscoveryConfig:
    """`<root>/.mcp/discovery-config.yaml`, or the defaults where there is none. Raises `ConfigError`."""
    data = _read(root, SERVERS_FILE)
    return DiscoveryConfig() if data is None else parse_discovery_config(data)


def load_agents_config(root: Path) -> AgentsConfig:
    """`<root>/.agents/discovery-config.yaml`, or the defaults where there is none. Raises `ConfigError`."""
    data = _read(root, AGENTS_FILE)
    return AgentsConfig() if data is None else parse_agents_config(data)


# Several rooms of one look ask for the same file; what it says depends on its bytes alone.
@functools.lru_cache(maxsize=4)
def parse_discovery_config(data: bytes) -> DiscoveryConfig:
    """The file's content as values. Raises `ConfigError` with every problem in it."""
    return _parse(DiscoveryConfig, SERVERS_FILE, data)


@functools.lru_cache(maxsize=4)
def parse_agents_config(data: bytes) -> AgentsConfig:
    """The file's content as values. Raises `ConfigError` with every problem in it."""
    return _parse(AgentsConfig, AGENTS_FILE, data)


def _read(root: Path, label: str) -> bytes | None:
    try:
        return safe_files.read_file(root / label, safe_files.Rules(max_bytes=strict_yaml.MAX_BYTES))
    except safe_files.UnsafeFile as error:
        problem = Problem(1, (), f"{error}; put a readable text file of at most 64 KiB there, or remove it")
        raise strict_yaml.config_error(label, [problem]) from error


def _parse(model: type[_Model], label: str, data: bytes) -> _Model:
    document = strict_yaml.read(data, numbered=("priority_order",))
    if document.problems and document.value is None:
        raise strict_yaml.config_error(label, document.problems)
    result: _Model | None = None
    problems = list(document.problems)
    try:
        # A file in which everything is commented out says as much as an absent one.
        result = model.model_validate({} if document.value is None else document.value)
    except ValidationError as error:
        told = {problem.path for problem in problems}
        for detail in error.errors(include_url=False):
            path = _path(document, detail["loc"])
            if path not in told:
                problems.append(Problem(document.line(path), path, _what(model, path, detail)))
    if problems or result is None:
        raise strict_yaml.config_error(label, problems)
    return result


def _path(document: Document, location: Sequence[str | int]) -> strict_yaml.Path:
    """pydantic's location as a path in the document: a map given as an order counts by its sorted numbers."""
    path: list[str | int] = []
    value = document.value
    for part in location:
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif isinstance(value, dict) and isinstance(part, int):
            part = sorted(value, key=int)[part]
            value = value[part]
        elif isinstance(value, dict) and part not in value and f"{part}".replace("-", "_") in value:
            part = f"{part}".replace("-", "_")
            value = value[part]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        elif not (isinstance(value, dict) and part != "[key]"):
            break
        path.append(part)
    return tuple(path)


_SHAPES: Mapping[str, str] = {
    "model_type": "must be a map of keys",
    "dict_type": "must be a map of keys",
    "mapping_type": "must be a map of keys",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "tuple_type": "must be a list",
}


def _what(model: type[BaseModel], path: strict_yaml.Path, detail: Any) -> str:
    """One of pydantic's errors as `what is wrong (value shown); what to do`."""
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        close = difflib.get_close_matches(str(path[-1])[:80], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"is an unknown key; remove it ({hint})"
    if value is None:
        return "is empty; give it a value or remove the key"
    if kind == "value_error":
        what, _, cure = str(detail["ctx"]["error"]).partition("; ")
        example = "" if isinstance(value, dict | list) else f" ({shown(value)})"
        return f"{what}{example}; {cure or 'correct it'}"
    if kind in _SHAPES:
        return f"{_SHAPES[kind]} (it is {_kind_of(value)}); correct it"
    return f"{_lower(detail['msg'])} (it is {shown(value)}); correct it"


def _kind_of(value: object) -> str:
    if isinstance(value, dict | list):
        return shown(value)
    kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(type(value), "")
    return f"{kind}: {shown(value)}"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _known_keys(model: type[BaseModel], parent: strict_yaml.Path) -> tuple[str, ...]:
    models: Mapping[strict_yaml.Path, type[BaseModel]] = {
        (): model,
        ("servers",): ServerConfig,
        ("servers", "resource_requirements"): Resources,
        ("servers", "dependencies"): Dependencies,
        ("agents",): AgentConfig,
        ("agents", "dependencies"): Dependencies,
        ("resource_limits",): ResourceLimits,
    }
    # The second part of `servers.NAME.…` is a name of the user's.
    shape = parent if parent[:1] == ("resource_limits",) else (*parent[:1], *parent[2:])
    return tuple(models[shape].model_fields)
