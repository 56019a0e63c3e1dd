"""MCP servers that speak stdio, in containers without a network: each in its own, or several packages in one.

The runner is reached by sockets in a volume, the door (docs/decisions/isolation.md). Carriers bring the bytes there:
busybox, which is static, and socat with its own libraries, so that both run in any image.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

import pulumi
import pulumi_command as command
import pulumi_docker as docker

from catalog import CARRIER, CARRIER_PATH, DOOR_PATH, RUNNER, SHARED, SOCAT, WAY_OUT_PORT, volume_name
from components.files import Files
from components.labels import labels
from components.workload import ContainerWorkload, image_id
from planning.contents import Contents, SecretText
from planning.plan import CERTIFICATES_FILE, Cell, Image, InRunner, Plan
from rendering.doors import packages_digest
from rendering.stdio_start import CARRY, HIDE, START, carrier_command, carry_script, hiding_script, start_script


class Carrier(pulumi.ComponentResource):
    """A volume with nothing in it but the carriers, which the containers of servers mount read-only."""

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
    """The shell command that copies the carriers out of their image. Root without capabilities owns a new volume.

    A program that runs can't be written to, so a newer one takes its name.
    """
    box = "/carrier/busybox"
    copy = (
        f"for file in /carrier/* /carrier/lib/*; do test -d $file || {{ new={CARRIER_PATH}${{file#/carrier}}; "
        f"{box} mkdir -p ${{new%/*}}; {box} cp $file $new.new && {box} mv $new.new $new; }} || exit 1; done"
    )
    return _as_root(volume, CARRIER_PATH, image, marks, ["sh", "-c", copy])


def _as_root(volume: str, path: str, image: str, marks: Mapping[str, str], words: list[str]) -> str:
    """A shell command for something that only who owns a new volume may do: busybox with `words`, and nothing else."""
    return shlex.join(
        [
            *("docker", "run", "--rm", "--network=none", "--read-only", "--user=0:0", "--cap-drop=ALL"),
            *("--security-opt=no-new-privileges:true", "--log-driver=none", "--memory=32m", "--memory-swap=32m"),
            *("--pids-limit=8", f"--volume={volume}:{path}"),
            *(f"--label={name}={value}" for name, value in marks.items()),
            *("--entrypoint=/carrier/busybox", image, *words),
        ]
    )


class Doors(pulumi.ComponentResource):
    """For each container of servers the volume in which the runner makes its sockets.

    Whoever is in the container can't write there, and so neither pretends to be another nor fills a disk.
    """

    volumes: Mapping[str, pulumi.Output[str]]

    def __init__(self, image: Image, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("promptcraft:stdio:Doors", "doors", None, opts)
        identity = image_id("doors", image, self)
        self.volumes = {cell.workload.service: self._volume(cell, plan, identity) for cell in plan.cells}
        self.register_outputs({"volumes": self.volumes})

    def _volume(self, cell: Cell, plan: Plan, image: pulumi.Output[str]) -> pulumi.Output[str]:
        children = pulumi.ResourceOptions(parent=self)
        name = f"{cell.workload.service}-door"
        marks = labels(plan, name)
        volume = docker.Volume(
            name,
            name=volume_name(plan.stack, cell.workload.service, "door"),
            labels=[docker.VolumeLabelArgs(label=label, value=value) for label, value in marks.items()],
            opts=children,
        )
        opened = command.local.Command(
            name,
            create=pulumi.Output.all(volume.name, image).apply(
                lambda found: _as_root(found[0], DOOR_PATH, found[1], marks, ["chmod", "0777", DOOR_PATH])
            ),
            triggers=[volume.id],
            opts=children,
        )
        # Whoever mounts the volume waits until it is open.
        return pulumi.Output.all(volume.name, opened.id).apply(lambda found: str(found[0]))


class SharedPackages(pulumi.ComponentResource):
    """The volume with the packages of the shared container: kept as data is, whoever is in that container by now."""

    volume: pulumi.Output[str]

    def __init__(self, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("promptcraft:stdio:SharedPackages", "packages", None, opts)
        name = f"{RUNNER.name}-data"
        volume = docker.Volume(
            name,
            name=volume_name(plan.stack, RUNNER.name),
            labels=[docker.VolumeLabelArgs(label=label, value=v) for label, v in labels(plan, RUNNER.name).items()],
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=plan.protect_data,
                retain_on_delete=True,
                ignore_changes=["labels"],
                delete_before_replace=True,
                # Where it stood when the runner started packages itself.
                aliases=[f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{_ONCE}::{name}"],
            ),
        )
        self.volume = volume.name
        self.register_outputs({"volume": self.volume})


_ONCE = "$".join(
    (
        "promptcraft:stack:PromptCraftStack",
        "promptcraft:runner:Runner",
        "promptcraft:workload:ContainerWorkload",
        "docker:index/volume:Volume",
    )
)


class StdioServer(pulumi.ComponentResource):
    """The container of one cell. Of an image's server, the launch says how it is started, and is secret as a whole."""

    containers: ContainerWorkload

    def __init__(
        self,
        cell: Cell,
        plan: Plan,
        contents: Contents,
        carrier: Carrier,
        door: pulumi.Output[str],
        packages: SharedPackages,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:stdio:StdioServer", cell.workload.service, None, opts)
        mounted = [
            docker.ContainerVolumeArgs(volume_name=carrier.volume, container_path=CARRIER_PATH, read_only=True),
            docker.ContainerVolumeArgs(volume_name=door, container_path=DOOR_PATH, read_only=True),
        ]
        if cell.is_image:
            self.containers = self._image(cell, plan, contents, mounted)
        else:
            self.containers = self._packages(cell, plan, contents, packages, mounted)
        self.register_outputs({"containers": self.containers.ids})

    def _image(
        self, cell: Cell, plan: Plan, contents: Contents, mounted: list[docker.ContainerVolumeArgs]
    ) -> ContainerWorkload:
        (name,) = cell.servers
        document = json.loads(contents.launches[name, plan.in_runner[name].key].text)
        arguments, environment = document["arguments"], document["environment"]
        service = cell.workload.service

        def words(image: pulumi.Output[str]) -> pulumi.Output[list[str]]:
            entrypoint = document["binary"]
            own = _program_of(service, image, self)
            return own.apply(lambda told: _words(name, told, entrypoint, bool(arguments)))

        return ContainerWorkload(
            cell.workload,
            plan,
            None,
            is_alone=True,
            files=Files(
                plain={CARRY: carry_script()},
                secret={
                    START: SecretText(start_script(arguments, environment)),
                    HIDE: SecretText(hiding_script(arguments, environment)),
                },
            ),
            entrypoint=[CARRIER],
            command=words,
            volumes=mounted,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _packages(
        self,
        cell: Cell,
        plan: Plan,
        contents: Contents,
        packages: SharedPackages,
        mounted: list[docker.ContainerVolumeArgs],
    ) -> ContainerWorkload:
        certificates = {CERTIFICATES_FILE: contents.certificates} if contents.certificates else {}
        is_shared = cell.workload.service == SHARED
        volume = packages.volume if is_shared else self._own_packages(cell, plan, plan.in_runner[cell.servers[0]])
        own = docker.ContainerVolumeArgs(volume_name=volume, container_path=str(RUNNER.data_path))
        return ContainerWorkload(
            cell.workload,
            plan,
            None,
            is_alone=True,
            files=Files(plain=certificates) if certificates else None,
            command=["python3", "/app/runner/cell.py", *cell.servers],
            environment={"CELL_WAY_OUT": " ".join(_WAY_OUT)},
            volumes=[*mounted, own],
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _own_packages(self, cell: Cell, plan: Plan, server: InRunner) -> pulumi.Output[str]:
        """Another package is another volume: what the one before it left there is not read while it is installed."""
        name = f"{cell.workload.service}-packages"
        volume = docker.Volume(
            name,
            name=volume_name(plan.stack, cell.workload.service, f"packages-{packages_digest(server)}"),
            labels=[docker.VolumeLabelArgs(label=label, value=value) for label, value in labels(plan, name).items()],
            opts=pulumi.ResourceOptions(parent=self),
        )
        return volume.name


_WAY_OUT = (
    *SOCAT,
    f"TCP-LISTEN:{WAY_OUT_PORT},bind=127.0.0.1,reuseaddr,fork,max-children=32",
    f"UNIX-CONNECT:{DOOR_PATH}/egress",
)


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


def _words(name: str, told: str, entrypoint: str | None, has_arguments: bool) -> list[str]:
    """The carrier's own words and the program that it starts, as `docker run` puts it together."""
    own, default = json.loads(told)
    program = [entrypoint] if entrypoint else own or []
    # Arguments, and another entrypoint, take the place of the image's command.
    more = [] if has_arguments or entrypoint else default or []
    return [*carrier_command(name)[1:], *program, *more]
