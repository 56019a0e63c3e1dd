"""The application: its plan and agents as files, its credentials as secret files, one container a replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from components.files import Files
from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.plan import AUTHORITIES_FILE, FILES_PATH, Plan, Workload
from rendering import gateway_tokens
from rendering.plan_document import agent_file, plan_document


class PromptCraft(pulumi.ComponentResource):
    """The gateway. `after` is what must be healthy before it starts; `agent_texts` the winning definitions by name."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        agent_texts: Mapping[str, str],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:promptcraft:PromptCraft", "promptcraft", None, opts)
        agents = {
            agent_file(agent.selected).removeprefix(f"{FILES_PATH}/"): agent_texts[name]
            for name, agent in plan.agents.items()
            if agent.selected is not None and name in agent_texts
        }
        authorities = {AUTHORITIES_FILE: plan.authorities} if plan.authorities else {}
        credentials = {name: secret for name, secret in secrets.items() if name != "gatewayTokens"}
        if "gatewayTokens" in secrets:
            credentials[gateway_tokens.FILE] = gateway_tokens.gateway_tokens(secrets["gatewayTokens"])
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(
                plain={"plan.json": plan_document(plan, workload.secrets), **authorities, **agents},
                secret=credentials,
            ),
            after=after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})
