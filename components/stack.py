"""The stack: one component for each decision, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.data_stores import Qdrant, Redis
from components.load_balancer import LoadBalancer
from components.lock import Lock
from components.mcp import ZenMcp
from components.monitoring import Grafana, Prometheus
from components.network import StackNetwork
from components.process_limits import ProcessLimits
from components.promptcraft import PromptCraft
from components.workload import ContainerWorkload
from plan import Deploy, Plan
from rendering.mcp_config import mcp_config, urls


class PromptCraftStack(pulumi.ComponentResource):
    """Everything that `plan` decided to run. `secrets` and `agent_texts` are contents the plan only names."""

    def __init__(
        self,
        plan: Plan,
        secrets: Mapping[str, str],
        agent_texts: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:stack:PromptCraftStack", plan.stack, None, opts)
        self._plan, self._secrets, self._agent_texts = plan, secrets, agent_texts
        children = pulumi.ResourceOptions(parent=self)
        self._children = children
        for notice in plan.notices:
            pulumi.log.warn(notice)
        self._network = StackNetwork(plan, opts=children).name
        running: dict[str, ContainerWorkload] = {}
        for deploy in plan.deployments:
            service = deploy.workload.service
            after = [resource for name in deploy.workload.needs if name in running for resource in running[name].ready]
            running[service] = self._declare(deploy, after)
            Lock(deploy, plan, opts=pulumi.ResourceOptions(parent=self, depends_on=running[service].ready))
        ProcessLimits(
            [(running[deploy.workload.service].ids, deploy.workload.pids) for deploy in plan.deployments], opts=children
        )
        self.register_outputs({"plan": plan.summary()})

    def _declare(self, deploy: Deploy, after: Sequence[pulumi.Resource]) -> ContainerWorkload:
        workload, plan, network = deploy.workload, self._plan, self._network
        secrets = {name: self._secrets[name] for name in workload.secrets}
        match workload.service:
            case "redis":
                return Redis(workload, plan, network, secrets, self._children).containers
            case "qdrant":
                return Qdrant(workload, plan, network, secrets, self._children).containers
            case "zen-mcp":
                return ZenMcp(workload, plan, network, secrets, self._children).containers
            case "promptcraft":
                return PromptCraft(
                    workload, plan, network, secrets, self._agent_texts, after, self._children
                ).containers
            case "nginx":
                return LoadBalancer(workload, plan, network, after, self._children).containers
            case "prometheus":
                return Prometheus(workload, plan, network, secrets, self._children).containers
            case "grafana":
                return Grafana(workload, plan, network, secrets, after, self._children).containers
            case unknown:
                raise NotImplementedError(f"{unknown} has no component yet: add one and name it here")


def outputs(plan: Plan) -> dict[str, Any]:
    """The stack outputs of CONTRACT: `urls`, `plan`, `budget`, `mcpConfig`."""
    return {
        "urls": urls(plan),
        "plan": plan.summary(),
        "budget": {
            "memory_mb": plan.budget.memory_mb,
            "limit_mb": plan.budget.limit_mb,
            "cpu_cores": plan.budget.cpu_cores,
        },
        "mcpConfig": mcp_config(plan),
    }
