"""The stack's own network: its containers reach each other by service name, and nobody else's do."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

from catalog import container_name
from components.labels import labels
from plan import Plan


class StackNetwork(pulumi.ComponentResource):
    """One bridge network; `name` is what containers attach to."""

    name: pulumi.Output[str]

    def __init__(self, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("promptcraft:network:StackNetwork", "network", None, opts)
        network = docker.Network(
            "network",
            name=container_name(plan.stack, "network"),
            driver="bridge",
            labels=[
                docker.NetworkLabelArgs(label=label, value=value) for label, value in labels(plan, "network").items()
            ],
            # A named network can't exist twice.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.name = network.name
        self.register_outputs({"name": self.name})
