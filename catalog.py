"""One record a service: what it speaks, where it listens, what it may use, and what it needs.

Adding a service starts here; `tests/unit/test_catalog.py` then names every place that still lacks it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

PROJECT = "promptcraft-hybrid"

# Stands where a server's name does, for agents among tools (`agent__NAME`): no server has it.
AGENTS = "agent"

LABEL_PROJECT = "ai.promptcraft.project"
LABEL_STACK = "ai.promptcraft.stack"
LABEL_SERVICE = "ai.promptcraft.service"
LABEL_OWNER = "ai.promptcraft.owner"
# The ids of others' networks that a container joined: it has to join again when one was made anew.
LABEL_JOINED = "ai.promptcraft.joined"
# What a stand-in is; empty on the containers and volumes of a real service that keeps data.
LABEL_STAND_IN = "ai.promptcraft.stand-in"
# Which health check a container was given: the provider does not see that it has another by now.
LABEL_HEALTH_CHECK = "ai.promptcraft.health-check"


class Protocol(StrEnum):
    """What a service must answer in to prove itself."""

    MCP = "mcp"
    REDIS = "redis"
    QDRANT = "qdrant"
    PROMETHEUS = "prometheus"
    GRAFANA = "grafana"
    PROMPTCRAFT = "promptcraft"
    NGINX = "nginx"
    OPENAI = "openai"  # OpenAI's chat API, whoever speaks it


class Asked(StrEnum):
    """By what a container asks itself whether it is well; rendering/health_checks.py writes the command."""

    BASH = "bash"  # HTTP; bash opens the socket, for neither curl nor wget is in every image
    WGET = "wget"  # HTTP, where busybox is all that an image has
    REDIS = "redis"
    NGINX = "nginx"  # HTTP as bash asks, which leaves nginx's own figures as well
    RELAY = "relay"  # whether it listens
    CARRIER = "carrier"  # whether it listens, where no connection may be made
    LISTENS = "listens"  # the same, where the image has a shell of its own


# Checks without an answer in a row until what hangs is ended. The replicas of the application answer for each other:
# 16 s. Others would be missed, may be saving, or have more to do than they can: a minute.
REPLICATED_MISSES = 4
LONE_MISSES = 15


@dataclass(frozen=True)
class HealthCheck:
    """What a container is asked inside of itself: `path` on `port` (and on those of `also`). Times in seconds."""

    asked: Asked
    port: int = 0
    path: str = ""
    also: tuple[int, str] | None = None
    misses: int = LONE_MISSES
    interval: int = 2
    timeout: int = 5
    retries: int = 15
    start_period: int = 5


@dataclass(frozen=True)
class Port:
    """A port inside the container and, where it is published, its host port before `portOffset`.

    `url` is its name in the stack output `urls`, where that is not the service's own.
    """

    container: int
    published: int | None = None
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Findable:
    """What discovery looks for: how it is recognised, and how its operator names it."""

    name: str
    title: str
    protocol: Protocol
    # Of its address: the scheme, and the path below which it is asked.
    scheme: str = "http"
    path: str = ""
    # Environment variables by which the operator names one that runs elsewhere; the first is the one to recommend.
    variables: tuple[str, ...] = ()
    # The secret that opens it, by its configuration key.
    secret_key: str | None = None
    # Names under which an MCP server introduces itself (`serverInfo.name`), lower case.
    identities: tuple[str, ...] = ()
    # What its program is called in the list of processes, as a whole name.
    programs: tuple[str, ...] = ()
    # What people call it in their `mcpServers` files.
    configured_as: tuple[str, ...] = ()
    # Repositories (no tag) whose containers are worth asking; an image name is never proof.
    images: tuple[str, ...] = ()
    # Ports on which such a service is commonly found on a host.
    known_ports: tuple[int, ...] = ()
    # How far above its port it usually listens for protocols of its own, which are nobody else's to speak.
    inner_ports: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Service(Findable):
    """A service that a stack can run itself, and how. Memory in MiB, CPU in cores, tmpfs sizes in MiB."""

    ports: tuple[Port, ...]
    health_check: HealthCheck
    memory_mb: int
    cpu_cores: float
    user: str
    disk_gb: float = 0.5
    pids: int = 256
    data_path: str | None = None
    # Its users make again what it holds.
    is_cache: bool = False
    tmpfs_mb: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    # Services that it talks to, and that must be healthy before it starts.
    needs: tuple[str, ...] = ()
    # It asks after everybody's health, and so may have to reach every service.
    asks_all: bool = False
    # Without this service it serves nobody.
    of_no_use_without: str | None = None
    # What a stack is for: never somebody else's.
    always_own: bool = False
    replicable: bool = False
    # Its image comes with set-up; others are made when a stack first wants them.
    brought_by_setup: bool = False
    # The stack's secrets that it reads besides the one that opens it, by their configuration keys.
    own_secrets: tuple[str, ...] = ()
    # Where it answers `/metrics`, inside its container; and what tells its resident memory in bytes, where that is not
    # its process' own figure.
    metrics_port: int | None = None
    memory_metric: str | None = None

    @property
    def port(self) -> int:
        """The port the service is asked on, inside the container."""
        return self.ports[0].container


@dataclass(frozen=True)
class Provider:
    """Who serves models to whoever has a key: the key's configuration key and variable, and the host it may go to."""

    name: str
    title: str
    secret_key: str
    variable: str
    host: str


# In the order in which they are used where several have a key.
PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            Provider("anthropic", "Anthropic", "anthropicApiKey", "ANTHROPIC_API_KEY", "api.anthropic.com"),
            Provider("openai", "OpenAI", "openaiApiKey", "OPENAI_API_KEY", "api.openai.com"),
            Provider("google", "Gemini", "geminiApiKey", "GEMINI_API_KEY", "generativelanguage.googleapis.com"),
            Provider("openrouter", "OpenRouter", "openrouterApiKey", "OPENROUTER_API_KEY", "openrouter.ai"),
            Provider("xai", "xAI", "xaiApiKey", "XAI_API_KEY", "api.x.ai"),
        )
    }
)
PROVIDER_KEYS = tuple(provider.secret_key for provider in PROVIDERS.values())
# Stands where a provider's name does, for the model server that was found.
LOCAL = "local"

# Only ever found: a stack downloads no model, and so runs no server for one.
MODELS = Findable(
    name="models",
    title="a model server",
    protocol=Protocol.OPENAI,
    path="/v1",
    variables=("OPENAI_BASE_URL", "OLLAMA_HOST", "CUSTOM_API_URL"),
    secret_key="modelsKey",
    programs=("ollama", "llama-server", "llama_cpp.server", "lm-studio", "vllm", "litellm"),
    images=(
        "ollama/ollama",
        "vllm/vllm-openai",
        "ggml-org/llama.cpp",
        "ggerganov/llama.cpp",
        "berriai/litellm",
        "berriai/litellm-database",
    ),
    # Ollama, LM Studio, llama.cpp, vLLM (Zen MCP's as well), LiteLLM.
    known_ports=(11434, 1234, 8080, 8000, 4000),
)

# For the health check and for Prometheus; never published.
NGINX_STATUS_PORT = 8081
# The secret that only the load balancer reads, by its configuration key.
TLS_KEY = "tlsKey"

_SERVICES = (
    Service(
        name="promptcraft",
        title="PromptCraft",
        protocol=Protocol.PROMPTCRAFT,
        # The API comes first: it is the port that proves who the service is.
        ports=(Port(7862, 7862, url="promptcraft-api"), Port(7860, 7860)),
        health_check=HealthCheck(Asked.BASH, 7860, "/health", also=(7862, "/health"), misses=REPLICATED_MISSES),
        memory_mb=384,
        cpu_cores=2.0,
        user="10001:10001",
        disk_gb=1.0,
        tmpfs_mb=MappingProxyType({"/tmp": 32}),
        needs=("redis", "qdrant", "zen-mcp", "models"),
        replicable=True,
        asks_all=True,
        always_own=True,
        brought_by_setup=True,
        own_secrets=("gatewayTokens", "embeddingsKey", *PROVIDER_KEYS),
        metrics_port=7862,
    ),
    Service(
        name="redis",
        title="Redis",
        protocol=Protocol.REDIS,
        ports=(Port(6379),),
        health_check=HealthCheck(Asked.REDIS),
        memory_mb=96,
        cpu_cores=0.2,
        user="999:999",
        data_path="/data",
        is_cache=True,
        images=(
            "redis",
            "library/redis",
            "valkey/valkey",
            "bitnami/redis",
            "bitnami/valkey",
            "eqalpha/keydb",
            "dragonflydb/dragonfly",
            "redis/redis-stack-server",
            "redis/redis-stack",
        ),
        known_ports=(6379,),
        # A cluster's bus.
        inner_ports=(10000,),
        brought_by_setup=True,
        scheme="redis",
        variables=("REDIS_URL", "UPSTASH_REDIS_REST_URL"),
        secret_key="redisPassword",
        memory_metric="redis_memory_used_rss_bytes",
        programs=("redis-server", "valkey-server", "keydb-server", "dragonfly"),
    ),
    Service(
        name="zen-mcp",
        title="Zen MCP",
        protocol=Protocol.MCP,
        ports=(Port(8000, 8000),),
        health_check=HealthCheck(Asked.BASH, 8000, "/health"),
        memory_mb=256,
        cpu_cores=0.5,
        user="10001:10001",
        tmpfs_mb=MappingProxyType({"/tmp": 64}),
        needs=("models",),
        own_secrets=PROVIDER_KEYS,
        identities=("pal", "zen", "pal-mcp-server", "zen-mcp-server", "zen-mcp", "pal-mcp"),
        images=("zen-mcp-server", "pal-mcp-server", "zen-mcp"),
        known_ports=(8000, 8001, 8002),
        brought_by_setup=True,
        path="/mcp",
        variables=("ZEN_MCP_URL",),
        secret_key="zenMcpToken",
        metrics_port=8000,
        configured_as=("zen", "zen-mcp", "zen-mcp-server", "pal", "pal-mcp", "pal-mcp-server"),
    ),
    Service(
        name="qdrant",
        title="Qdrant",
        protocol=Protocol.QDRANT,
        ports=(Port(6333, 6333),),
        health_check=HealthCheck(Asked.BASH, 6333, "/readyz"),
        memory_mb=256,
        cpu_cores=1.0,
        user="1000:1000",
        disk_gb=2.0,
        data_path="/qdrant/storage",
        tmpfs_mb=MappingProxyType({"/tmp": 16}),
        images=("qdrant/qdrant", "qdrant", "qdrant/qdrant-gpu"),
        known_ports=(6333,),
        # gRPC, and what the nodes of a cluster say to each other.
        inner_ports=(1, 2),
        brought_by_setup=True,
        variables=("QDRANT_HOST", "QDRANT_PORT", "QDRANT_URL"),
        secret_key="qdrantApiKey",
        metrics_port=6333,
        memory_metric='memory_resident_bytes{job="qdrant"}',
        programs=("qdrant",),
    ),
    Service(
        name="nginx",
        title="nginx",
        protocol=Protocol.NGINX,
        # Plain HTTP and TLS.
        ports=(Port(8080), Port(8443)),
        health_check=HealthCheck(Asked.NGINX, NGINX_STATUS_PORT, "/healthz"),
        memory_mb=64,
        cpu_cores=0.5,
        user="101:101",
        tmpfs_mb=MappingProxyType({"/tmp": 16}),
        needs=("promptcraft",),
        images=("nginx", "library/nginx", "nginxinc/nginx-unprivileged"),
        of_no_use_without="promptcraft",
        always_own=True,
        own_secrets=(TLS_KEY,),
        metrics_port=NGINX_STATUS_PORT,
        programs=("nginx",),
    ),
    Service(
        name="prometheus",
        title="Prometheus",
        protocol=Protocol.PROMETHEUS,
        ports=(Port(9090, 9090),),
        # Its image has no bash, but busybox's wget.
        health_check=HealthCheck(Asked.WGET, 9090, "/-/ready"),
        memory_mb=256,
        cpu_cores=0.5,
        user="65534:65534",
        disk_gb=2.5,
        data_path="/prometheus",
        # It reads Qdrant's metrics, behind Qdrant's key where there is one.
        needs=("qdrant",),
        images=("prom/prometheus", "prometheus"),
        known_ports=(9090,),
        variables=("PROMETHEUS_URL",),
        programs=("prometheus",),
    ),
    Service(
        name="grafana",
        title="Grafana",
        protocol=Protocol.GRAFANA,
        ports=(Port(3000, 3000),),
        health_check=HealthCheck(Asked.BASH, 3000, "/api/health"),
        memory_mb=256,
        cpu_cores=0.5,
        user="472:472",
        # All that matters is provisioned, so its database lives and dies with the container: Grafana reads the
        # administrator's password only when it makes a new one, and a changed password has to count.
        tmpfs_mb=MappingProxyType({"/tmp": 16, "/var/lib/grafana": 64}),
        needs=("prometheus",),
        images=("grafana/grafana", "grafana/grafana-oss", "grafana/grafana-enterprise"),
        known_ports=(3000,),
        of_no_use_without="prometheus",
        variables=("GRAFANA_URL",),
        secret_key="grafanaPassword",
        metrics_port=3000,
        programs=("grafana", "grafana-server"),
    ),
)

# What a stack can run.
SERVICES: Mapping[str, Service] = MappingProxyType({service.name: service for service in _SERVICES})
# What discovery looks for.
FINDABLE: Mapping[str, Findable] = MappingProxyType({**SERVICES, MODELS.name: MODELS})


def scheme_of(name: str) -> str:
    """The scheme of an endpoint of the service `name`, which need not be in the catalog."""
    return FINDABLE[name].scheme if name in FINDABLE else "http"


# All exporters run from one image.
EXPORTERS_IMAGE = "exporters"


@dataclass(frozen=True)
class Exporter:
    """A container that tells Prometheus the figures of a service which has none in Prometheus' format.

    Not a service: nobody looks for it, and it comes and goes with the service that it reads. Units as in `Service`.
    """

    name: str
    service: str
    port: int
    command: tuple[str, ...]
    memory_mb: int = 32
    cpu_cores: float = 0.1
    user: str = "65534:65534"
    pids: int = 64

    @property
    def health_check(self) -> HealthCheck:
        """Both exporters answer `/` without asking their service; their image has busybox's wget."""
        return HealthCheck(Asked.WGET, self.port, "/")


EXPORTERS: Mapping[str, Exporter] = MappingProxyType(
    {
        exporter.name: exporter
        for exporter in (
            Exporter(
                name="nginx-exporter",
                service="nginx",
                port=9113,
                command=(
                    "nginx-prometheus-exporter",
                    f"--nginx.scrape-uri=http://nginx:{NGINX_STATUS_PORT}/stub_status",
                ),
            ),
            Exporter(
                name="redis-exporter",
                service="redis",
                port=9121,
                command=("redis_exporter", "--redis.addr=redis://redis:6379", "--log-format=json"),
            ),
        )
    }
)

# What speaks HTTP for MCP servers that speak stdio. None of them runs in it: each runs in a container without a network
# (`STDIO`), which reaches it by a socket. `memory_mb` is what it, `EGRESS` and the shared container have together, and
# the volume has the shared container's packages; unlike a tmpfs it lets programs be executed and counts as no memory.
RUNNER = Service(
    name="runner",
    title="MCP runner",
    protocol=Protocol.MCP,
    ports=(Port(8000),),
    # Healthy once every server was tried: fetching packages takes tens of seconds.
    health_check=HealthCheck(Asked.BASH, 8000, "/health", retries=60),
    memory_mb=272,
    cpu_cores=1.0,
    user="10001:10001",
    disk_gb=1.0,
    data_path="/packages",
    tmpfs_mb=MappingProxyType({"/tmp": 32}),
)
# The one way out of those containers: squid, which knows who may go where. The runner alone connects to it.
EGRESS = Service(
    name="egress",
    title="way out",
    protocol=Protocol.NGINX,
    ports=(Port(3128),),
    health_check=HealthCheck(Asked.LISTENS, 3128, interval=5),
    memory_mb=24,
    cpu_cores=0.2,
    user="13:13",
    disk_gb=0.0,
    pids=16,
    tmpfs_mb=MappingProxyType({"/tmp": 1}),
)
# Where the containers of servers listen for what knows a proxy, on their own loopback.
WAY_OUT_PORT = 3128

# What carries a service on the host's loopback to the stack's network: nginx's image, one container a service.
RELAY = Service(
    name="relay",
    title="relay",
    protocol=Protocol.NGINX,
    ports=(),
    # It listens: whether the service behind it answers is for those to say who use it.
    health_check=HealthCheck(Asked.RELAY, interval=5),
    memory_mb=32,
    cpu_cores=0.1,
    user="101:101",
    disk_gb=0.0,
    pids=16,
    tmpfs_mb=MappingProxyType({"/tmp": 1}),
)
# A container with a server that speaks stdio: what it may use, whatever it is. `memoryLimits` may say other.
STDIO = Service(
    name="stdio",
    title="MCP server",
    protocol=Protocol.MCP,
    ports=(),
    # Its own way out listens. The server's health is what the runner's handshake finds.
    health_check=HealthCheck(Asked.CARRIER, WAY_OUT_PORT, interval=5),
    memory_mb=128,
    cpu_cores=0.5,
    user="10001:10001",
    disk_gb=0.0,
    pids=96,
    tmpfs_mb=MappingProxyType({"/tmp": 16}),
)
# The container of the servers that have none of their own. No server's container is called so (`stdio_name`).
SHARED = "runner-servers"
# Where the programs lie that carry bytes between such a server and its sockets.
CARRIER_PATH = "/run/carrier"
CARRIER = f"{CARRIER_PATH}/busybox"
SOCAT = (f"{CARRIER_PATH}/ld.so", "--library-path", f"{CARRIER_PATH}/lib", f"{CARRIER_PATH}/socat")
# The sockets by which the runner is reached: in a server's container, and in the runner, one folder for each of those.
DOOR_PATH = "/run/door"
DOORS_PATH = "/run/doors"


def stdio_name(service: str) -> str:
    """The name of the container that a server which speaks stdio has for itself."""
    return f"{service}-{STDIO.name}"


# Added to a service's port: below the ports that the kernel hands out (32768), and nobody's custom.
_RELAYED = 15000


def relay_name(service: str) -> str:
    """The name of a service's relay, under which the stack's containers reach it."""
    return f"{service}-{RELAY.name}"


def relay_port(service: str, offset: int) -> int:
    """The port a service's relay listens on, on the gateway of the network of a stack with this `portOffset`."""
    if service in SERVICES:
        return SERVICES[service].port + _RELAYED + offset
    # An MCP server that the catalog does not know: by its name, beyond the catalog's own.
    return 25000 + zlib.crc32(service.encode()) % 5000 + offset


# Ends the name of a resource that is a command of this host.
HOST_COMMAND = "-host-command"


def host_name(service: str) -> str:
    """The name under which the stack's containers reach a service that a command of this host serves."""
    return f"{service}-host"


LAST_PORT = 65535


def host_port(service: str, offset: int) -> int:
    """The port that a command of this host is bridged to, on the gateway of a stack's network; no relay's."""
    return relay_port(host_name(service), offset)


def container_name(stack: str, service: str, replica: int | None = None) -> str:
    """The name of a container or network on the engine: `promptcraft-<stack>-<service>[-<replica>]`."""
    base = f"promptcraft-{stack}-{service}"
    return base if replica is None else f"{base}-{replica}"


def volume_name(stack: str, service: str, purpose: str = "data") -> str:
    """The name of a volume on the engine: `promptcraft-<stack>-<service>-<purpose>`."""
    return f"promptcraft-{stack}-{service}-{purpose}"
