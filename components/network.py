"""The stack's own network: its containers reach each other by service name, and nobody else's do."""

from __future__ import annotations

import pulumi
import pulumi_command as command
import pulumi_docker as docker

from catalog import container_name
from components.labels import labels
from planning.plan import Plan

_LET_GO = (
    "docker network inspect -f '{{{{range $id, $_ := .Containers}}}}{{{{println $id}}}}{{{{end}}}}' {network} | "
    "xargs -r -n 1 docker network disconnect -f {network} || true"
)


class StackNetwork(pulumi.ComponentResource):
    """One bridge network. `name` is what containers attach to, `gateway` this host's own address in its `subnet`."""

    name: pulumi.Output[str]
    gateway: pulumi.Output[str]
    subnet: pulumi.Output[str]

    def __init__(self, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("promptcraft:network:StackNetwork", "network", None, opts)
        name = container_name(plan.stack, "network")
        network = docker.Network(
            "network",
            name=name,
            driver="bridge",
            labels=[
                docker.NetworkLabelArgs(label=label, value=value) for label, value in labels(plan, "network").items()
            ],
            # A named network can't exist twice.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        # Other stacks may have joined, and the engine keeps a network that anybody is attached to.
        command.local.Command(
            "network-guests",
            delete=_LET_GO.format(network=name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[network]),
        )
        self.name = network.name
        # Chosen by the engine, who knows which addresses are free.
        self.gateway = network.ipam_configs.apply(lambda configs: str(configs[0].gateway))
        self.subnet = network.ipam_configs.apply(lambda configs: str(configs[0].subnet))
        self.register_outputs({"name": self.name})
