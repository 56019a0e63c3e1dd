"""One look at the world: all probes at once, every endpoint asked once, within one limit of wall-clock time.

The look runs in a thread with an event loop of its own: a Pulumi program already has one. Whatever blocks runs in
threads that are left behind when their time is up, so that nothing found out there can hold the look, or the end of
the process, for longer than the budget.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network

import psutil

from catalog import host_port
from discovery import agents
from discovery.asking import Asker
from discovery.config import AgentsConfig, DiscoveryConfig, load_agents_config
from discovery.judging import obstacles
from discovery.judging.data_writers import data_writers
from discovery.judging.judge import Judge
from discovery.judging.selection import choose, require_pins
from discovery.judging.sightings import pins_of, rank_of, services_of, sightings_of
from discovery.probes import PROBES, NamedProbe
from discovery.readers import host_records
from discovery.readers.tool_pins import read_tool_pins
from discovery.report import AgentReport, HostLaunch, Report, ServiceReport
from discovery.request import Gathered, Request
from discovery.wire import Resolver, in_thread
from discovery.world import EngineState, Inventory, World
from errors import ConfigError
from reading.addresses import plain_address
from reading.text import one_line

PROBE_SECONDS = 2.0  # the most that one source of candidates may take, unless half of the budget is more
_GATHERING = 0.75  # the share of the budget after which a source that has not answered is left behind
_AGENTS_SECONDS = 0.25  # granted for reading agent files even where the budget is used up
_AGENTS_READING = 0.8  # the share of the budget after which no further agent file is read
_BRIDGES = ("docker", "br-")  # how the engine names the interfaces of its networks
_ENGINE_SILENT = Inventory(
    EngineState.BROKEN, problem="the Docker Engine does not answer in time; what runs in containers is unknown"
)


def look(request: Request, config: DiscoveryConfig, probes: Sequence[NamedProbe] = PROBES) -> Report:
    """Find out what there is for every service. Raises `ConfigError` for broken configuration and unmet pins."""
    agents_config = load_agents_config(request.root)
    pins = read_tool_pins(request.root)
    result: Future[Report] = Future()

    def run() -> None:
        try:
            seen = asyncio.run(_look(request, config, agents_config, probes))
            result.set_result(replace(seen, tool_pins={name: pin.sha256 for name, pin in pins.items()}))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller, never swallowed
            result.set_exception(error)

    threading.Thread(target=run, name="look", daemon=True).start()
    return result.result()


async def _look(
    request: Request, config: DiscoveryConfig, agents_config: AgentsConfig, probes: Sequence[NamedProbe]
) -> Report:
    """Gather, ask, judge, choose."""
    clock = asyncio.get_running_loop().time
    started = clock()
    deadline = started + request.budget_seconds
    # Beside all else: hundreds of files take a while.
    reading = in_thread(partial(agents.read_definitions, request, request.budget_seconds * _AGENTS_READING))
    gathered = await _gather(request, probes)
    request = _with_host_ports(request, gathered)
    world = _world(gathered, request)
    services = services_of(gathered, config, request.servers)
    pins = pins_of(request, services)
    sightings = sightings_of(gathered, pins, services)
    visits = await Asker(request, world, deadline, Resolver()).visit_all(sightings)

    has_npx = shutil.which("npx", path=request.environment.get("PATH", "")) is not None
    judge = Judge(request, config, has_npx, engine_is_here=world.inventory.local)
    findings = judge.findings(sightings, visits, services)
    orders = {name: server.priority_order for name, server in config.servers.items()}
    chosen = {
        name: choose(findings.get(name, ()), orders.get(name), pins.get(name), only_named=request.only_named)
        for name in services
    }
    require_pins(pins, chosen, f"Pulumi.{request.stack}.yaml:1")

    found_agents, agent_warnings = await _agents(reading, agents_config, chosen, deadline - clock())
    state_warnings = (request.checkpoint.problem,) if request.checkpoint.problem else ()
    warnings = [line for found in gathered.values() for line in found.warnings]
    return Report(
        stack=request.stack,
        duration_ms=(clock() - started) * 1000,
        services=chosen,
        agents=found_agents,
        warnings=tuple(one_line(line) for line in (*request.warnings, *state_warnings, *warnings, *agent_warnings)),
        obstacles=obstacles.obstacles(request, world),
        previous=request.checkpoint.previous,
        data_writers=data_writers(request, world.inventory),
        owner=request.checkpoint.owner,
    )


async def _gather(request: Request, probes: Sequence[NamedProbe]) -> dict[NamedProbe, Gathered]:
    """What each probe found, in the order of trust whichever came first. Raises `ConfigError`."""
    budget = request.budget_seconds
    limit = min(max(PROBE_SECONDS, budget / 2), budget * _GATHERING)
    running = {probe: in_thread(partial(probe.probe, request)) for probe in probes}
    if running:
        await asyncio.wait(running.values(), timeout=limit)
    gathered: dict[NamedProbe, Gathered] = {}
    problems: set[str] = set()
    for probe in sorted(running, key=rank_of):
        if not running[probe].done():
            gathered[probe] = _cut_off(probe)
            continue
        try:
            gathered[probe] = running[probe].result()
        except ConfigError as error:
            problems.update(str(error).splitlines())
    if problems:
        raise ConfigError("\n".join(sorted(problems)))
    return gathered


def _cut_off(probe: NamedProbe) -> Gathered:
    if probe.name == "docker_engine":
        return Gathered(warnings=(_ENGINE_SILENT.problem,), inventory=_ENGINE_SILENT)
    return Gathered(warnings=(f"{probe.name}: cut off; what it would have found is unknown",))


async def _agents(
    reading: Awaitable[agents.Definitions],
    config: AgentsConfig,
    services: Mapping[str, ServiceReport],
    remaining: float,
) -> tuple[Mapping[str, AgentReport], tuple[str, ...]]:
    try:
        async with asyncio.timeout(max(_AGENTS_SECONDS, remaining)):
            definitions = await reading
    except TimeoutError:
        return {}, ("agent files: cut off; which agents there are is unknown",)
    return agents.resolve(definitions, config, services)


def _with_host_ports(request: Request, gathered: Mapping[NamedProbe, Gathered]) -> Request:
    """The request with the ports of commands of this host, which are known once the user's files are read."""
    launchable = {
        candidate.service
        for found in gathered.values()
        for candidate in found.candidates
        if isinstance(candidate.launch, HostLaunch)
    }
    ports = [host_port(service, request.port_offset) for service in sorted(launchable)]
    return replace(request, host_ports=(*request.host_ports, *ports))


def _world(gathered: Mapping[NamedProbe, Gathered], request: Request) -> World:
    inventory = next((found.inventory for found in gathered.values() if found.inventory is not None), None)
    listeners = next((found.listeners for found in gathered.values() if found.listeners is not None), ())
    addresses, bridges = set(), []
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            address = plain_address(entry.address)
            if address is None:
                continue
            addresses.add(address)
            if name.startswith(_BRIDGES) and entry.netmask and isinstance(address, IPv4Address):
                bridges.append(IPv4Network(f"{address}/{entry.netmask}", strict=False))
    served = {
        (address, record.port): service
        for service, record in host_records.living(host_records.folder_of(request.root, request.stack))
        if (address := plain_address(record.address)) is not None
    }
    return World(inventory or Inventory(EngineState.ABSENT), listeners, frozenset(addresses), tuple(bridges), served)
