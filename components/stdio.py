"""MCP servers that speak stdio and come as images: each in a container of its own, whose bytes a carrier brings out.

The carrier is busybox, which is static and so runs in any image. It listens, and starts the image's own program for
each connection; the runner is who connects (docs/decisions/docker-run.md).
"""

from __future__ import annotations

import json
import shlex

import pulumi
import pulumi_command as command
import pulumi_docker as docker

from catalog import CARRIER, CARRIER_PATH, volume_name
from components.files import Files
from components.labels import labels
from components.network import StackNetwork
from components.workload import ContainerWorkload, image_id
from planning.contents import SecretText
from planning.plan import Image, Plan, Workload
from rendering.stdio_start import HIDE, START, carrier_command, hiding_script, start_script


class Carrier(pulumi.ComponentResource):
    """A volume with nothing in it but the carrier, which its servers mount read-only."""

    volume: pulumi.Output[str]

    def __init__(self, image: Image, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("promptcraft:stdio:Carrier", "carrier", None, opts)
        children = pulumi.ResourceOptions(parent=self)
        marks = labels(plan, "carrier")
        identity = image_id("carrier", image, self)
        volume = docker.Volume(
            "carrier",
            name=volume_name(plan.stack, "carrier", "program"),
            labels=[docker.VolumeLabelArgs(label=label, value=value) for label, value in marks.items()],
            opts=children,
        )
        filled = command.local.Command(
            "carrier",
            create=pulumi.Output.all(volume.name, identity).apply(lambda found: _fill(found[0], found[1], marks)),
            triggers=[identity, volume.id],
            opts=children,
        )
        # Whoever mounts the volume waits until it is filled.
        self.volume = pulumi.Output.all(volume.name, filled.id).apply(lambda found: str(found[0]))
        self.register_outputs({"volume": self.volume})


def _fill(volume: str, image: str, marks: dict[str, str]) -> str:
    """The shell command that copies the carrier out of its image. Root without capabilities owns a new volume.

    A program that runs can't be written to, so a newer one takes its name.
    """
    copy = f"/bin/busybox cp /bin/busybox {CARRIER}.new && /bin/busybox mv {CARRIER}.new {CARRIER}"
    return shlex.join(
        [
            *("docker", "run", "--rm", "--network=none", "--read-only", "--user=0:0", "--cap-drop=ALL"),
            *("--security-opt=no-new-privileges:true", "--log-driver=none", "--memory=16m", "--memory-swap=16m"),
            *("--pids-limit=8", f"--volume={volume}:{CARRIER_PATH}"),
            *(f"--label={name}={value}" for name, value in marks.items()),
            *("--entrypoint=/bin/busybox", image, "sh", "-c", copy),
        ]
    )


class StdioServer(pulumi.ComponentResource):
    """One server in an image of its own. `launch` says how it is started, and is secret as a whole."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        launch: SecretText,
        carrier: Carrier,
        plan: Plan,
        network: StackNetwork,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:stdio:StdioServer", workload.service, None, opts)
        document = json.loads(launch.text)
        arguments, environment = document["arguments"], document["environment"]
        files = Files(
            secret={
                START: SecretText(start_script(arguments, environment)),
                HIDE: SecretText(hiding_script(arguments, environment)),
            }
        )
        name = workload.service

        def words(image: pulumi.Output[str]) -> pulumi.Output[list[str]]:
            entrypoint = document["binary"]
            own = _program_of(name, image, self)
            return own.apply(lambda told: _words(told, entrypoint, bool(arguments)))

        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=files,
            entrypoint=[CARRIER],
            command=words,
            volumes=[
                docker.ContainerVolumeArgs(volume_name=carrier.volume, container_path=CARRIER_PATH, read_only=True)
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})


def _program_of(name: str, image: pulumi.Output[str], parent: pulumi.Resource) -> pulumi.Output[str]:
    """What the image would start: its entrypoint and command, as JSON. Known once the image is on the engine."""
    asked = image.apply(
        lambda identity: shlex.join(
            ["docker", "image", "inspect", "--format", "[{{json .Config.Entrypoint}},{{json .Config.Cmd}}]", identity]
        )
    )
    told = command.local.Command(
        f"{name}-program", create=asked, triggers=[image], opts=pulumi.ResourceOptions(parent=parent)
    )
    return told.stdout


def _words(told: str, entrypoint: str | None, has_arguments: bool) -> list[str]:
    """The carrier's own words and the program that it starts, as `docker run` puts it together."""
    own, default = json.loads(told)
    program = [entrypoint] if entrypoint else own or []
    # Arguments, and another entrypoint, take the place of the image's command.
    more = [] if has_arguments or entrypoint else default or []
    return [*carrier_command()[1:], *program, *more]
