"""How this stack runs what it declares: the catalog's records and the settings, as workloads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from catalog import (
    EXPORTERS,
    EXPORTERS_IMAGE,
    MODELS,
    RELAY,
    SERVICES,
    Exporter,
    Service,
    container_name,
    host_name,
    relay_name,
    volume_name,
)
from discovery.config import DiscoveryConfig, Resources
from planning.plan import (
    AUTHORITIES_FILE,
    FILES_PATH,
    SECRETS_PATH,
    Choice,
    Decision,
    Deploy,
    Edge,
    HostCommand,
    PublishedPort,
    Relay,
    Replica,
    Reuse,
    RunHere,
    Workload,
    secret_of,
)
from settings import StackSettings

LOOPBACK = "127.0.0.1"
ALL_INTERFACES = "0.0.0.0"


def deploy(
    service: Service,
    reason: str,
    settings: StackSettings,
    config: DiscoveryConfig,
    chosen: Mapping[str, Choice],
) -> Deploy:
    """The service as this stack runs it; `chosen` says what it uses of others, and so what it must join."""
    server = config.servers.get(service.name)
    required = server.resource_requirements if server else None
    image = settings.images[service.name]
    used = [choice for name, choice in chosen.items() if _uses(service, name)]
    joined = {use.network: use.network_id for use in used if isinstance(use, Reuse) and use.network}
    workload = Workload(
        service=service.name,
        image=image,
        replicas=_replicas(service, settings),
        user=service.user,
        memory_mb=_memory(service, settings, required),
        cpu_cores=(required.cpu_cores if required and required.cpu_cores else service.cpu_cores),
        pids=service.pids,
        health_check=service.health_check,
        disk_gb=service.disk_gb,
        environment=_store(service, settings, config, chosen)
        | _models(service, chosen)
        | _environment(service, settings),
        tmpfs_mb=service.tmpfs_mb,
        volume=volume_name(settings.stack, service.name) if service.data_path else None,
        data_path=service.data_path,
        needs=service.needs,
        join=tuple(sorted(joined)),
        join_ids=tuple(joined[network] for network in sorted(joined)),
        relays=tuple(sorted(_on_the_gateway(used))),
        secrets=tuple(secret for name in _may_read(service) if (secret := _secret(name, chosen, settings))),
    )
    endpoint = f"{service.scheme}://{service.name}:{service.port}{service.path}"
    named = f"{reason} ({image.stand_in})" if image.stand_in else reason
    return Deploy(workload=workload, endpoint=endpoint, reason=named)


def _on_the_gateway(used: Iterable[Choice]) -> Iterator[str]:
    """The names of what listens on the gateway of the stack's network."""
    for use in used:
        match use:
            case Relay(workload=workload):
                yield workload.service
            case HostCommand(service=service):
                yield host_name(service)


def _may_read(service: Service) -> tuple[str, ...]:
    """The secrets that a service is given: its own, and those of what it uses."""
    return (service.name, *service.needs, *service.own_secrets)


def exporter_workloads(decisions: Mapping[str, Decision], settings: StackSettings) -> Iterator[Workload]:
    """An exporter for each service of this stack's own that needs one, where a Prometheus can reach it."""
    match decisions["prometheus"]:
        case Deploy() | Reuse(network=str()):
            wanted = [one for one in EXPORTERS.values() if isinstance(decisions[one.service], Deploy)]
        case _:
            wanted = []
    for exporter in wanted:
        yield _exporter(exporter, settings)


def _exporter(exporter: Exporter, settings: StackSettings) -> Workload:
    return Workload(
        service=exporter.name,
        image=settings.images[EXPORTERS_IMAGE],
        replicas=(Replica(container_name(settings.stack, exporter.name)),),
        user=exporter.user,
        memory_mb=exporter.memory_mb,
        cpu_cores=exporter.cpu_cores,
        pids=exporter.pids,
        health_check=exporter.health_check,
        needs=(exporter.service,),
        secrets=tuple({exporter.service} & settings.secrets.keys()),
    )


def _secret(name: str, chosen: Mapping[str, Choice], settings: StackSettings) -> str | None:
    """The secret that opens `name` for its users; None where there is none, or only one of this stack's own making for
    what is somebody else's."""
    choice = chosen.get(name)
    key = secret_of(name, choice)
    secret = settings.secrets.get(key)
    if secret is None or (secret.is_own and isinstance(choice, Reuse | Relay)):
        return None
    if name == MODELS.name and not (isinstance(choice, Reuse | Relay) and choice.named):
        # Whoever listens on a usual port is no reason to show it a key.
        return None
    return key


def _memory(service: Service, settings: StackSettings, required: Resources | None) -> int:
    """MiB: this stack's own figure, else the project's, else the catalog's."""
    project = required.memory_mb if required else None
    return settings.config.memory_limits.get(service.name) or project or service.memory_mb


def _uses(service: Service, name: str) -> bool:
    return service.asks_all or name in service.needs


def _replicas(service: Service, settings: StackSettings) -> tuple[Replica, ...]:
    count = settings.config.replicas if service.replicable else 1
    ports = tuple(_published(service, settings))
    if count == 1:
        return (Replica(container_name(settings.stack, service.name), ports),)
    # A host port has one holder: the first replica answers on loopback, the load balancer reaches them all.
    return tuple(
        Replica(container_name(settings.stack, service.name, number), ports if number == 1 else ())
        for number in range(1, count + 1)
    )


def _published(service: Service, settings: StackSettings) -> Iterator[PublishedPort]:
    offset = settings.config.port_offset
    if service.name == "nginx":
        ip = ALL_INTERFACES if settings.config.environment == "production" else LOOPBACK
        http, https = service.ports
        yield PublishedPort(ip, settings.config.public_port + offset, http.container)
        if settings.tls is not None:
            yield PublishedPort(ip, edge_of(settings).tls_port, https.container)
        return
    # Sorted, since the provider reads ports back sorted and replaces the container on any other order.
    for port in sorted(service.ports, key=lambda port: port.container):
        if port.published is not None:
            yield PublishedPort(LOOPBACK, port.published + offset, port.container)


def edge_of(settings: StackSettings) -> Edge:
    """How the load balancer is reached."""
    return Edge(
        hosts=tuple(dict.fromkeys(settings.config.public_hosts)),
        certificate=settings.tls.certificate if settings.tls else None,
        tls_port=settings.config.public_tls_port + settings.config.port_offset,
    )


def _environment(service: Service, settings: StackSettings) -> dict[str, str]:
    match service.name:
        case "promptcraft":
            return _application(settings)
        case "zen-mcp":
            # PAL has public authorities of its own, to which its program adds these.
            extra = {"PROMPTCRAFT_AUTHORITIES": f"{FILES_PATH}/{AUTHORITIES_FILE}"} if settings.authorities else {}
            return {"LOG_LEVEL": settings.config.log_level, **extra}
        case "qdrant":
            # On a read-only root, everything it writes must lie on the volume.
            return {
                "QDRANT_INIT_FILE_PATH": f"{service.data_path}/.qdrant-initialized",
                # By default a page of any origin may ask it and read what it answers.
                "QDRANT__SERVICE__ENABLE_CORS": "false",
                # No page of its own, which no key would guard.
                "QDRANT__SERVICE__ENABLE_STATIC_CONTENT": "false",
                "QDRANT__STORAGE__SNAPSHOTS_PATH": f"{service.data_path}/snapshots",
                "QDRANT__TELEMETRY_DISABLED": "true",
            }
        case "grafana":
            return {
                "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_AUTH_ANONYMOUS_ENABLED": "false",
                "GF_LOG_CONSOLE_FORMAT": "json",
                "GF_LOG_MODE": "console",
                "GF_PATHS_PLUGINS": "/var/lib/grafana/plugins",
                "GF_PATHS_PROVISIONING": f"{FILES_PATH}/provisioning",
                "GF_PLUGINS_PREINSTALL_DISABLED": "true",
                "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{SECRETS_PATH}/grafana",
                "GF_SECURITY_COOKIE_SAMESITE": "strict",
                "GF_SECURITY_DISABLE_GRAVATAR": "true",
                "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
                "GF_USERS_ALLOW_SIGN_UP": "false",
            }
        case _:
            return {}


# Of its container's memory: below what redis.conf gives its data, so that it is never full of the application's.
_STORE_SHARE = 0.5


def _store(
    service: Service,
    settings: StackSettings,
    config: DiscoveryConfig,
    chosen: Mapping[str, Choice],
) -> dict[str, str]:
    """How much of this stack's own Redis the application may fill; of somebody else's it has its default."""
    if service.name != "promptcraft" or not isinstance(chosen.get("redis"), RunHere):
        return {}
    redis = config.servers.get("redis")
    memory = _memory(SERVICES["redis"], settings, redis.resource_requirements if redis else None)
    return {"PROMPTCRAFT_STORE_MIB": str(int(memory * _STORE_SHARE))}


def _models(service: Service, chosen: Mapping[str, Choice]) -> dict[str, str]:
    """Zen MCP's own provider: the model server that was found. The application reads of it in the plan."""
    found = chosen.get(MODELS.name)
    if service.name != "zen-mcp" or not isinstance(found, Reuse | Relay):
        return {}
    return {
        "PROMPTCRAFT_MODELS": ",".join(found.holds or ()),
        "PROMPTCRAFT_MODELS_HOST": found.known_as or "",
        "PROMPTCRAFT_MODELS_URL": found.endpoint,
    }


def _application(settings: StackSettings) -> dict[str, str]:
    """What the stack sets for the application, what a person does, and where its files are."""
    environment = {
        **settings.config.gateway,
        "ENABLE_MONITORING": str(settings.config.monitoring).lower(),
        "ENVIRONMENT": settings.config.environment,
        "LOG_LEVEL": settings.config.log_level,
        "PROMPTCRAFT_PLAN_FILE": f"{FILES_PATH}/plan.json",
    }
    if settings.authorities:
        # Python's ssl trusts what this names; a file of an image's own would not know the operator's authorities.
        environment["SSL_CERT_FILE"] = f"{FILES_PATH}/{AUTHORITIES_FILE}"
    if hosts := edge_of(settings).hosts:
        environment["PROMPTCRAFT_ALLOWED_HOSTS"] = ",".join(hosts)
    if "embeddingsKey" in settings.secrets:
        environment["PROMPTCRAFT_EMBEDDINGS_KEY_FILE"] = f"{SECRETS_PATH}/embeddingsKey"
    return environment


def relay_workload(name: str, settings: StackSettings) -> Workload:
    """What carries connections to the service on this host's loopback."""
    relay = relay_name(name)
    return Workload(
        service=relay,
        image=settings.images["nginx"],
        replicas=(Replica(container_name(settings.stack, relay)),),
        user=RELAY.user,
        memory_mb=RELAY.memory_mb,
        cpu_cores=RELAY.cpu_cores,
        pids=RELAY.pids,
        health_check=RELAY.health_check,
        tmpfs_mb=RELAY.tmpfs_mb,
    )
