"""The stack's own network: its containers reach each other by service name, and nobody else's do."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pulumi_command as command
import pulumi_docker as docker

from catalog import container_name
from components.labels import labels
from planning.plan import Plan
from rendering.template import Template

_LET_GO = Template(Path(__file__).with_name("network_guests.sh"))


class StackNetwork(pulumi.ComponentResource):
    """One bridge network, the stack's own or that of a `service`.

    `name` is what containers attach to, `gateway` this host's own address in its `subnet`.
    """

    name: pulumi.Output[str]
    gateway: pulumi.Output[str]
    subnet: pulumi.Output[str]

    def __init__(self, plan: Plan, service: str = "network", opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("promptcraft:network:StackNetwork", service, None, opts)
        name = container_name(plan.stack, service)
        network = docker.Network(
            service,
            name=name,
            driver="bridge",
            labels=[
                docker.NetworkLabelArgs(label=label, value=value) for label, value in labels(plan, service).items()
            ],
            # A named network can't exist twice.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        command.local.Command(
            f"{service}-guests",
            delete=_LET_GO.fill(NETWORK=name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[network]),
        )
        self.name = network.name
        # Chosen by the engine, who knows which addresses are free.
        self.gateway = network.ipam_configs.apply(lambda configs: str(configs[0].gateway))
        self.subnet = network.ipam_configs.apply(lambda configs: str(configs[0].subnet))
        self.register_outputs({"name": self.name})
