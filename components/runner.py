"""The runner: HTTP before MCP servers that speak stdio, each of which runs in a container without a network."""

from __future__ import annotations

import json

import pulumi
import pulumi_docker as docker

from catalog import DOORS_PATH
from components.files import Files
from components.network import StackNetwork
from components.stdio import Doors
from components.workload import ContainerWorkload
from planning.contents import Contents, SecretText
from planning.plan import InRunner, Plan, Workload
from rendering.doors import DOORS, doors


class Runner(pulumi.ComponentResource):
    """How each server is started comes as a file that `images/runner/hosted.py` reads: secret, for it holds keys."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        contents: Contents,
        network: StackNetwork,
        outside: StackNetwork,
        behind: Doors,
        after: list[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:runner:Runner", workload.service, None, opts)
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            also=[outside],
            files=Files(
                plain={DOORS: doors(plan)},
                secret={
                    f"server-{name}.json": _in_an_image(server) or contents.launches[name, server.key]
                    for name, server in plan.in_runner.items()
                },
            ),
            volumes=[
                docker.ContainerVolumeArgs(volume_name=volume, container_path=f"{DOORS_PATH}/{service}")
                for service, volume in sorted(behind.volumes.items())
            ],
            after=after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})


def _in_an_image(server: InRunner) -> SecretText | None:
    """What the runner is told of a server whose container starts it: nothing secret."""
    if not server.is_image:
        return None
    document = {"program": server.program, "package": server.package}
    return SecretText(json.dumps(document, indent=2, sort_keys=True) + "\n")
