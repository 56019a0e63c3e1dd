"""The Zen MCP server."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.files import Files
from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.plan import Plan, Workload


class ZenMcp(pulumi.ComponentResource):
    """Zen MCP over HTTP; behind a bearer token where one is configured."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:mcp:ZenMcp", "zen-mcp", None, opts)
        token = secrets.get("zen-mcp")
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(secret={"zen-mcp": token}) if token else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})
