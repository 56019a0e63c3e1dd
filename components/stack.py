"""The stack: one component for each decision, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pulumi

from catalog import EGRESS, RUNNER
from components.data_stores import Qdrant, Redis
from components.egress import Egress
from components.host_command import CommandOfThisHost
from components.load_balancer import LoadBalancer
from components.lock import Lock
from components.mcp import ZenMcp
from components.monitoring import Exporter, Grafana, Prometheus
from components.network import StackNetwork
from components.process_limits import ProcessLimits
from components.promptcraft import PromptCraft
from components.relay import LoopbackRelay
from components.runner import Runner
from components.service import Declared, ServiceComponent
from components.stdio import Carrier, Doors, SharedPackages, StdioServer
from planning.contents import Contents
from planning.plan import Plan, Relay, Workload
from rendering.mcp_config import mcp_config, mcp_config_each, urls
from rendering.monitoring_to_paste import monitoring_to_paste

# Which component declares each service of the catalog.
COMPONENTS: Mapping[str, type[ServiceComponent]] = MappingProxyType(
    {
        "promptcraft": PromptCraft,
        "redis": Redis,
        "zen-mcp": ZenMcp,
        "qdrant": Qdrant,
        "nginx": LoadBalancer,
        "prometheus": Prometheus,
        "grafana": Grafana,
    }
)


class PromptCraftStack(pulumi.ComponentResource):
    """Everything that `plan` decided to run, with `contents` in its files."""

    def __init__(self, plan: Plan, contents: Contents, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("promptcraft:stack:PromptCraftStack", plan.stack, None, opts)
        children = pulumi.ResourceOptions(parent=self)
        for notice in plan.notices:
            pulumi.log.warn(notice)
        network = StackNetwork(plan, opts=children)
        running = {
            service: LoopbackRelay(decision, plan, network, children).containers
            for service, decision in plan.decisions.items()
            if isinstance(decision, Relay)
        }

        def declared(workload: Workload) -> Declared:
            needed = [running[name] for name in workload.needs if name in running]
            after = [resource for containers in needed for resource in containers.ready]
            return Declared(workload, plan, network, contents, after)

        for server in plan.host_commands:
            CommandOfThisHost(server, plan, network, children)
        if plan.runner and plan.egress:
            outside = StackNetwork(plan, "egress-network", children)
            way_out = Egress(Declared(plan.egress, plan, outside, contents), children).containers
            carrier, doors = Carrier(plan.egress.image, plan, children), Doors(plan.egress.image, plan, children)
            packages = SharedPackages(plan, children)
            behind = {
                cell.workload.service: StdioServer(
                    cell, plan, contents, carrier, doors.volumes[cell.workload.service], packages, children
                ).containers
                for cell in plan.cells
            }
            # It speaks for the others, and says at once of whom it can't.
            after = [resource for containers in (way_out, *behind.values()) for resource in containers.ready]
            speaker = Runner(plan.runner, plan, contents, network, outside, doors, after, children).containers
            running |= {EGRESS.name: way_out, **behind, RUNNER.name: speaker}
        for deploy in plan.deployments:
            service = deploy.workload.service
            running[service] = COMPONENTS[service](declared(deploy.workload), children).containers
            Lock(deploy, plan, opts=pulumi.ResourceOptions(parent=self, depends_on=running[service].ready))
        for workload in plan.exporters:
            running[workload.service] = Exporter(declared(workload), children).containers
        ProcessLimits([(containers.ids, containers.pids) for containers in running.values()], opts=children)
        self.register_outputs({"plan": plan.summary()})


def outputs(plan: Plan) -> dict[str, Any]:
    """The stack outputs of docs/interface.md; `monitoring` only where another's is used."""
    to_paste = monitoring_to_paste(plan)
    return {
        "urls": urls(plan),
        "plan": plan.summary(),
        "budget": {
            "memory_mb": plan.budget.memory_mb,
            "limit_mb": plan.budget.limit_mb,
            "cpu_cores": plan.budget.cpu_cores,
        },
        "models": {"names": dict(plan.models.names), "problem": plan.models.problem},
        "mcpConfig": mcp_config(plan),
        "mcpConfigEach": mcp_config_each(plan),
        **({"monitoring": to_paste} if to_paste else {}),
    }
