"""A relay: what serves on the host's loopback, brought to the gateway of the stack's network and no further."""

from __future__ import annotations

import pulumi

from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.plan import Plan, Relay
from rendering.relay_conf import relay_conf

# The gateway is known once the network exists, files are written from what is known before: so its configuration,
# which holds no secret, comes to nginx through its environment.
_START = """printf %s "$RELAY_CONF" > /tmp/relay.conf && exec nginx -c /tmp/relay.conf -g 'daemon off;'"""


class LoopbackRelay(pulumi.ComponentResource):
    """nginx on the host's own network, since nobody else can reach the host's loopback."""

    containers: ContainerWorkload

    def __init__(
        self, relay: Relay, plan: Plan, network: StackNetwork, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        name = relay.workload.service
        super().__init__("promptcraft:relay:LoopbackRelay", name, None, opts)
        conf = pulumi.Output.all(network.gateway, network.subnet).apply(
            lambda found: relay_conf(found[0], found[1], relay.port, relay.target)
        )
        self.containers = ContainerWorkload(
            relay.workload,
            plan,
            None,
            command=["sh", "-c", _START],
            environment={"RELAY_ADDRESS": network.gateway, "RELAY_PORT": str(relay.port), "RELAY_CONF": conf},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})
