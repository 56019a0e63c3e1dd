"""The runner: MCP servers that speak stdio, started from packages in one container, HTTP before them."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.files import Files
from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.plan import CERTIFICATES_FILE, Plan, Workload


class Runner(pulumi.ComponentResource):
    """`launches` says how each server is started, as `images/runner/hosted.py` reads it: secret, for it holds keys."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        launches: Mapping[str, str],
        certificates: str | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:runner:Runner", "runner", None, opts)
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(
                plain={CERTIFICATES_FILE: certificates} if certificates else {},
                secret={f"server-{name}.json": launches[name] for name in plan.hosted},
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})
