"""The stack: one component for each decision, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.data_stores import Qdrant, Redis
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
from components.workload import ContainerWorkload
from planning.plan import Deploy, Plan, Relay, Workload
from rendering.mcp_config import mcp_config, urls
from rendering.monitoring_to_paste import monitoring_to_paste


class PromptCraftStack(pulumi.ComponentResource):
    """Everything that `plan` decided to run; the other arguments are contents that the plan only names.

    `launches` is how the runner starts servers, by name and key; `certificates` whom it trusts for their packages.
    """

    def __init__(
        self,
        plan: Plan,
        secrets: Mapping[str, str],
        agent_texts: Mapping[str, str],
        dashboards: Mapping[str, str],
        launches: Mapping[tuple[str, str], str] | None = None,
        certificates: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:stack:PromptCraftStack", plan.stack, None, opts)
        self._plan, self._secrets, self._agent_texts, self._dashboards = plan, secrets, agent_texts, dashboards
        children = pulumi.ResourceOptions(parent=self)
        self._children = children
        for notice in plan.notices:
            pulumi.log.warn(notice)
        self._network = StackNetwork(plan, opts=children)
        running = {
            service: LoopbackRelay(decision, plan, self._network, children).containers
            for service, decision in plan.decisions.items()
            if isinstance(decision, Relay)
        }
        for server in plan.host_commands:
            CommandOfThisHost(server, plan, self._network, children)
        if plan.runner:
            texts = {name: (launches or {})[name, hosted.key] for name, hosted in plan.hosted.items()}
            running["runner"] = Runner(plan.runner, plan, self._network, texts, certificates, opts=children).containers
        for deploy in plan.deployments:
            service = deploy.workload.service
            after = [resource for name in deploy.workload.needs if name in running for resource in running[name].ready]
            running[service] = self._declare(deploy, after)
            Lock(deploy, plan, opts=pulumi.ResourceOptions(parent=self, depends_on=running[service].ready))
        for workload in plan.exporters:
            running[workload.service] = Exporter(
                workload, plan, self._network, self._secrets_of(workload), running[workload.needs[0]].ready, children
            ).containers
        ProcessLimits([(containers.ids, containers.pids) for containers in running.values()], opts=children)
        self.register_outputs({"plan": plan.summary()})

    def _secrets_of(self, workload: Workload) -> dict[str, str]:
        return {name: self._secrets[name] for name in workload.secrets}

    def _declare(self, deploy: Deploy, after: Sequence[pulumi.Resource]) -> ContainerWorkload:
        workload, plan, network = deploy.workload, self._plan, self._network
        secrets = self._secrets_of(workload)
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
                return LoadBalancer(workload, plan, network, secrets, after, self._children).containers
            case "prometheus":
                return Prometheus(workload, plan, network, secrets, self._children).containers
            case "grafana":
                return Grafana(workload, plan, network, secrets, self._dashboards, after, self._children).containers
            case unknown:
                raise NotImplementedError(f"{unknown} has no component yet: add one and name it here")


def outputs(plan: Plan) -> dict[str, Any]:
    """The stack outputs: `urls`, `plan`, `budget`, `mcpConfig`; `monitoring` where somebody else's is used."""
    to_paste = monitoring_to_paste(plan)
    return {
        "urls": urls(plan),
        "plan": plan.summary(),
        "budget": {
            "memory_mb": plan.budget.memory_mb,
            "limit_mb": plan.budget.limit_mb,
            "cpu_cores": plan.budget.cpu_cores,
        },
        "mcpConfig": mcp_config(plan),
        **({"monitoring": to_paste} if to_paste else {}),
    }
