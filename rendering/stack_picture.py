"""The plan as a picture: containers, networks, published ports and volumes, as a Mermaid flowchart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from catalog import FINDABLE, SERVICES, container_name
from planning.plan import Deploy, HostCommand, InRunner, Omit, Plan, PublishedPort, Relay, Reuse, Workload
from rendering.prometheus_config import jobs

_ALL_INTERFACES = "0.0.0.0"
# Who comes in through a published port, by the address that it is published on.
_WORLD, _LOOPBACK = "world", "loopback"


def stack_picture(plan: Plan) -> str:
    """Mermaid text, which GitHub draws. Names are those on the engine, less `promptcraft-<stack>-`.

    An arrow leads from a service to what it uses, a dotted one from Prometheus to what it reads figures of.
    """
    workloads = _workloads(plan)
    lines = [
        *_doors(workloads),
        *_group("network", f"network {container_name(plan.stack, 'network')}", _containers(plan, workloads)),
        *_group("host", "this host's own network", _on_this_host(plan)),
        *_group("elsewhere", "runs elsewhere", _elsewhere(plan)),
        *_volumes(plan, workloads),
        *_entrances(plan, workloads),
        *_uses(plan),
    ]
    return "".join(f"{line}\n" for line in ("flowchart LR", *(f"    {line}" for line in lines)))


def _workloads(plan: Plan) -> list[Workload]:
    """What runs on the stack's own network."""
    return [
        *(deploy.workload for deploy in plan.deployments),
        *plan.exporters,
        *([plan.runner] if plan.runner else []),
        *(cell.workload for cell in plan.cells),
        *([plan.egress] if plan.egress else []),
    ]


def _doors(workloads: Iterable[Workload]) -> Iterator[str]:
    published = {_door(port) for workload in workloads for port in _ports(workload)}
    if _WORLD in published:
        yield f'{_WORLD}(["every address of this host"])'
    if _LOOPBACK in published:
        yield f'{_LOOPBACK}(["this host\'s loopback"])'


def _door(port: PublishedPort) -> str:
    return _WORLD if port.ip == _ALL_INTERFACES else _LOOPBACK


def _ports(workload: Workload) -> list[PublishedPort]:
    return [port for replica in workload.replicas for port in replica.ports]


def _group(name: str, title: str, lines: Iterable[str]) -> Iterator[str]:
    within = [f"    {line}" for line in lines]
    if within:
        yield from (f'subgraph {name}["{_text(title)}"]', *within, "end")


def _containers(plan: Plan, workloads: Iterable[Workload]) -> Iterator[str]:
    for workload in workloads:
        limits = f"{workload.memory_mb} MiB, {workload.cpu_cores:g} CPU"
        inside = [", ".join(cell.servers) for cell in plan.cells if cell.workload == workload]
        names = [_short(plan, replica.name) for replica in workload.replicas]
        boxes = [_box(_id(name), name, limits, *inside) for name in names]
        # An arrow to the group is one to each of its replicas.
        yield from _group(_id(workload.service), workload.service, boxes) if len(boxes) > 1 else boxes


def _on_this_host(plan: Plan) -> Iterator[str]:
    for relay in plan.relays:
        name = relay.workload.service
        yield _box(_id(name), name, f"{relay.workload.memory_mb} MiB, {relay.workload.cpu_cores:g} CPU")
    for server in plan.host_commands:
        yield _box(_id(server.service), server.service, "a command of this host")


def _elsewhere(plan: Plan) -> Iterator[str]:
    for name, decision in plan.decisions.items():
        match decision:
            case Reuse(endpoint=endpoint, network=network):
                joined = [f"in the network {network}"] if network else []
                yield _box(_id(name), _title(name), endpoint, *joined)
            case Relay(target=target):
                yield _box(_id(name), _title(name), f"{target} on this host's loopback")
            case Deploy() | InRunner() | HostCommand() | Omit():
                pass


def _title(name: str) -> str:
    return FINDABLE[name].title if name in FINDABLE else name


def _volumes(plan: Plan, workloads: Iterable[Workload]) -> Iterator[str]:
    for workload in workloads:
        if workload.volume:
            name = _short(plan, workload.volume)
            yield f'{_node(workload)} --- {_id(name)}[("{_text(name)}")]'


def _entrances(plan: Plan, workloads: Iterable[Workload]) -> Iterator[str]:
    for workload in workloads:
        for replica in workload.replicas:
            if replica.ports:
                ports = ", ".join(_mapped(port) for port in replica.ports)
                yield f'{_door(replica.ports[0])} -->|"{ports}"| {_id(_short(plan, replica.name))}'


def _mapped(port: PublishedPort) -> str:
    return f"{port.external}" if port.external == port.internal else f"{port.external} → {port.internal}"


def _uses(plan: Plan) -> Iterator[str]:
    served = {name: node for name in plan.decisions if (node := _asked_at(plan, name))}
    for deploy in plan.deployments:
        service = SERVICES[deploy.workload.service]
        # An MCP server that the catalog does not know is there for the application's agents.
        others = [name for name in served if name not in FINDABLE] if service.asks_all else []
        used = dict.fromkeys(served[name] for name in (*service.needs, *others) if name in served)
        if service.name == "prometheus":
            nodes = {workload.service: _node(workload) for workload in _workloads(plan)}
            yield from (f"{_node(deploy.workload)} -.-> {nodes[name]}" for name in jobs(plan))
        else:
            yield from (f"{_node(deploy.workload)} --> {node}" for node in used)
    for exporter in plan.exporters:
        yield f"{_node(exporter)} --> {served[exporter.needs[0]]}"
    for name, decision in plan.decisions.items():
        if isinstance(decision, Relay):
            yield f"{_node(decision.workload)} --> {_id(name)}"
    if plan.runner:
        yield from (f"{_node(plan.runner)} --> {_node(cell.workload)}" for cell in plan.cells)
        yield from (f"{_node(plan.runner)} --> {_node(workload)}" for workload in [plan.egress] if workload)


def _asked_at(plan: Plan, name: str) -> str | None:
    """The node that its users ask; None where nobody serves it."""
    match plan.decisions[name]:
        case Deploy(workload=workload) | Relay(workload=workload):
            return _node(workload)
        case InRunner():
            return _node(plan.runner) if plan.runner else None
        case Reuse() | HostCommand():
            return _id(name)
        case Omit():
            return None


def _node(workload: Workload) -> str:
    """The workload's one container, or the group of its replicas: named alike."""
    return _id(workload.service)


def _short(plan: Plan, name: str) -> str:
    return name.removeprefix(container_name(plan.stack, ""))


def _box(node: str, *lines: str) -> str:
    return f'{node}["{"<br>".join(_text(line) for line in lines)}"]'


def _id(name: str) -> str:
    # A server may be called `end`, which Mermaid reads as its own word.
    return re.sub(r"[^A-Za-z0-9]", "_", f"{name}_")


def _text(text: str) -> str:
    """Text in quotes, as Mermaid writes what would end them or begin markup."""
    return "".join(f"#{ord(letter)};" if letter in '"<>&#`' else letter for letter in text)
