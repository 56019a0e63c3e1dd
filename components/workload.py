"""A workload: an image and its containers, hardened alike. The one place that knows how a service is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pulumi
import pulumi_docker as docker

from catalog import LABEL_HEALTH_CHECK, LABEL_JOINED, HealthCheck
from components.files import Files, WorkloadFiles
from components.files_check import FilesCheck
from components.labels import labels
from components.network import StackNetwork
from planning.plan import FILES_PATH, Image, Plan, Replica, Workload
from rendering.health_checks import health_command, health_digest

# Seconds. The longest a container may take to become healthy before `up` fails.
_WAIT_TIMEOUT = 120
_STOP_TIMEOUT = 20

_ULIMITS = (("core", 0, 0), ("nofile", 8192, 8192), ("nproc", 1024, 1024))


class ContainerWorkload(pulumi.ComponentResource):
    """The containers of one workload. `ready` holds them, for whoever must wait until they are healthy.

    Without a `network` they share the host's own, as only a relay must, or have none if they are to be alone. `also`
    are further networks. `environment` adds what the plan can't know.
    `check` is a command in the image that must take `files` before they are written and anything is replaced. `command`
    may be made of the image's id. `entrypoint` takes the place of the image's own; it may lie in one of `volumes`.
    """

    ids: list[pulumi.Output[str]]
    pids: int
    ready: list[pulumi.Resource]

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork | None,
        *,
        also: Sequence[StackNetwork] = (),
        is_alone: bool = False,
        files: Files | None = None,
        check: Sequence[str] | None = None,
        command: Sequence[str] | Callable[[pulumi.Output[str]], pulumi.Output[list[str]]] | None = None,
        environment: Mapping[str, pulumi.Input[str]] | None = None,
        entrypoint: Sequence[str] | None = None,
        volumes: Sequence[docker.ContainerVolumeArgs] = (),
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:workload:ContainerWorkload", workload.service, None, opts)
        self._workload, self._plan, self._network = workload, plan, network
        self._also = also
        # The engine reports "bridge" for every container that is attached to a named network after creation.
        self._mode = "bridge" if network else "none" if is_alone else "host"
        self._environment = {**workload.environment, **(environment or {})}
        image = self._image()
        self._entrypoint = entrypoint
        mounted = [*self._data(), *self._files(image, files, check), *volumes]
        words = command(image) if callable(command) else list(command) if command else None
        containers = [self._container(replica, image, mounted, words, after) for replica in workload.replicas]
        self.ids = [container.id for container in containers]
        self.pids = workload.pids
        self.ready = list(containers)
        self.register_outputs({"ids": self.ids})

    def _image(self) -> pulumi.Output[str]:
        return image_id(self._workload.service, self._workload.image, self)

    def _networks(self) -> Iterator[docker.ContainerNetworksAdvancedArgs]:
        if self._network is None:
            return
        yield docker.ContainerNetworksAdvancedArgs(name=self._network.name, aliases=[self._workload.service])
        for network in self._also:
            yield docker.ContainerNetworksAdvancedArgs(name=network.name, aliases=[self._workload.service])
        for name in self._workload.join:
            yield docker.ContainerNetworksAdvancedArgs(name=name)

    def _hosts(self) -> Iterator[docker.ContainerHostArgs]:
        """Names for the relays, which are on no network that would name them."""
        if self._network is None:
            return
        for name in self._workload.relays:
            yield docker.ContainerHostArgs(host=name, ip=self._network.gateway)

    def _marks(self) -> dict[str, str]:
        workload = self._workload
        # An image that somebody chose may be labelled as a stand-in; without a label of its own, a container has its
        # image's.
        real = "" if workload.volume and workload.image.vouched_for else None
        return labels(self._plan, workload.service, workload.image.stand_in or real)

    def _data(self) -> list[docker.ContainerVolumeArgs]:
        """The volume that outlives the stack: `destroy` leaves it, and no change of a label replaces it."""
        workload = self._workload
        if workload.volume is None or workload.data_path is None:
            return []
        volume = docker.Volume(
            f"{workload.service}-data",
            name=workload.volume,
            labels=[docker.VolumeLabelArgs(label=label, value=value) for label, value in self._marks().items()],
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=self._plan.protect_data,
                retain_on_delete=True,
                ignore_changes=["labels"],
                delete_before_replace=True,
            ),
        )
        return [docker.ContainerVolumeArgs(volume_name=volume.name, container_path=workload.data_path)]

    def _files(
        self, image: pulumi.Input[str], files: Files | None, check: Sequence[str] | None
    ) -> list[docker.ContainerVolumeArgs]:
        if files is None:
            return []
        children = pulumi.ResourceOptions(parent=self)
        checked = [FilesCheck(self._workload, self._plan, image, files, check, children).passed] if check else []
        written = WorkloadFiles(
            self._workload.service,
            self._plan,
            image,
            self._workload.user,
            files,
            after=checked,
            opts=children,
        )
        return [
            docker.ContainerVolumeArgs(volume_name=written.volume, container_path=FILES_PATH, read_only=True),
        ]

    def _container(
        self,
        replica: Replica,
        image: pulumi.Input[str],
        volumes: list[docker.ContainerVolumeArgs],
        command: pulumi.Input[Sequence[pulumi.Input[str]]] | None,
        after: Sequence[pulumi.Resource],
    ) -> docker.Container:
        workload = self._workload
        marks = self._marks()
        marks[LABEL_HEALTH_CHECK] = health_digest(workload.health_check)
        if workload.join_ids:
            marks[LABEL_JOINED] = " ".join(workload.join_ids)
        return docker.Container(
            replica.name.removeprefix(f"promptcraft-{self._plan.stack}-"),
            name=replica.name,
            image=image,
            command=command,
            entrypoints=list(self._entrypoint) if self._entrypoint else None,
            envs=[pulumi.Output.concat(name, "=", value) for name, value in sorted(self._environment.items())],
            labels=[docker.ContainerLabelArgs(label=label, value=value) for label, value in sorted(marks.items())],
            ports=[
                docker.ContainerPortArgs(ip=port.ip, external=port.external, internal=port.internal, protocol="tcp")
                for port in replica.ports
            ],
            network_mode=self._mode,
            networks_advanced=list(self._networks()) or None,
            hosts=list(self._hosts()) or None,
            volumes=volumes,
            tmpfs={path: f"rw,noexec,nosuid,nodev,size={size}m" for path, size in sorted(workload.tmpfs_mb.items())},
            user=workload.user,
            # The first process takes no signal from inside its container: under an init, what hangs can be ended there.
            init=True,
            read_only=True,
            privileged=False,
            capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
            security_opts=["no-new-privileges:true"],
            ulimits=[docker.ContainerUlimitArgs(name=name, soft=soft, hard=hard) for name, soft, hard in _ULIMITS],
            memory=workload.memory_mb,
            # Equal to memory: no swap. Left out, the engine stores twice the memory and every refresh differs.
            memory_swap=workload.memory_mb,
            cpus=str(workload.cpu_cores),
            log_driver="json-file",
            log_opts={"max-file": "3", "max-size": "10m"},
            # `on-failure` would not come back after the engine restarts.
            restart="unless-stopped",
            stop_timeout=_STOP_TIMEOUT,
            must_run=True,
            wait=True,
            wait_timeout=_WAIT_TIMEOUT,
            healthcheck=_health_check(workload.health_check),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, depends_on=list(after)),
        )


def image_id(name: str, image: Image, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The image's id: a name would be read back as an id, and so replace the container on every `up`."""
    build = (
        docker.RemoteImageBuildArgs(context=image.build, dockerfile="Dockerfile", tags=[image.reference])
        if image.build
        else None
    )
    return docker.RemoteImage(
        f"{name}-image",
        name=image.reference,
        build=build,
        # An image may serve others too; ours to use, not to delete.
        keep_locally=True,
        opts=pulumi.ResourceOptions(parent=parent),
    ).image_id


def _health_check(check: HealthCheck) -> docker.ContainerHealthcheckArgs:
    return docker.ContainerHealthcheckArgs(
        tests=list(health_command(check)),
        interval=duration(check.interval),
        timeout=duration(check.timeout),
        start_period=duration(check.start_period),
        # Every field is set: an unset one is read back as a zero and differs.
        start_interval="0s",
        retries=check.retries,
    )


def duration(seconds: int) -> str:
    """Seconds as Go prints them (`90` is `1m30s`), which is how the provider reads them back."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
