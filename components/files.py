"""A workload's files and secrets: a volume that only its workload mounts, read-only.

The provider can't upload into a container whose root is read-only, so a container that is created and never
started takes the uploads into the volume. The volume's name carries the content's hash: new content is a new
volume, the workload that mounts it is replaced with it, and no file of an earlier deployment lingers.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_docker as docker

from catalog import container_name, volume_name
from components.labels import labels
from planning.contents import SecretText
from planning.plan import FILES_PATH, SECRETS_PATH, Plan

# Memory in MiB. The container never runs; the limits say that it could not do much if somebody started it.
_MEMORY = 16


@dataclass(frozen=True)
class Files:
    """File contents by path below `FILES_PATH`, and secret ones by file name below `SECRETS_PATH`."""

    plain: Mapping[str, str] = field(default_factory=dict)
    secret: Mapping[str, SecretText] = field(default_factory=dict)

    def by_path(self) -> dict[str, str]:
        """Every content, secret ones too, by its path below `FILES_PATH`."""
        folder = SECRETS_PATH.removeprefix(f"{FILES_PATH}/")
        return {**self.plain, **{f"{folder}/{name}": content.text for name, content in self.secret.items()}}

    def fingerprint(self, plan: Plan) -> str:
        """10 hex digits that change with any content. Slow on purpose: a secret can't be guessed back from them."""
        secret = sorted((name, content.text) for name, content in self.secret.items())
        content = repr((sorted(self.plain.items()), secret)).encode()
        if not self.secret:
            return hashlib.sha256(content).hexdigest()[:10]
        salt = f"{plan.owner}/{plan.stack}".encode()
        return hashlib.scrypt(content, salt=salt, n=2**13, r=8, p=1, dklen=5).hex()


class WorkloadFiles(pulumi.ComponentResource):
    """The volume holding the files, complete before anybody mounts it; `after` is what must be there before it."""

    volume: pulumi.Output[str]

    def __init__(
        self,
        service: str,
        plan: Plan,
        image: pulumi.Input[str],
        user: str,
        files: Files,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:files:WorkloadFiles", f"{service}-files", None, opts)
        marks = labels(plan, f"{service}-files")
        # Meanwhile the rest is declared: one slow hash after the other would be most of what an update waits for.
        fingerprint: pulumi.Output[str] = pulumi.Output.from_input(asyncio.to_thread(files.fingerprint, plan))
        volume = docker.Volume(
            f"{service}-files",
            name=fingerprint.apply(lambda digits: volume_name(plan.stack, service, f"files-{digits}")),
            labels=[docker.VolumeLabelArgs(label=label, value=value) for label, value in marks.items()],
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )
        writer = docker.Container(
            f"{service}-files",
            name=container_name(plan.stack, f"{service}-files"),
            image=image,
            start=False,
            must_run=False,
            network_mode="none",
            user=user,
            memory=_MEMORY,
            memory_swap=_MEMORY,
            cpus="0.1",
            restart="no",
            log_driver="json-file",
            log_opts={"max-file": "1", "max-size": "1m"},
            capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
            security_opts=["no-new-privileges:true"],
            labels=[docker.ContainerLabelArgs(label=label, value=value) for label, value in marks.items()],
            uploads=[
                *(
                    docker.ContainerUploadArgs(file=f"{FILES_PATH}/{path}", content=content, permissions="0444")
                    for path, content in sorted(files.plain.items())
                ),
                *(
                    docker.ContainerUploadArgs(
                        file=f"{SECRETS_PATH}/{name}", content=pulumi.Output.secret(content.text), permissions="0444"
                    )
                    for name, content in sorted(files.secret.items())
                ),
            ],
            volumes=[docker.ContainerVolumeArgs(volume_name=volume.name, container_path=FILES_PATH)],
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True, additional_secret_outputs=["uploads"]),
        )
        # Taken from the container, so that whoever mounts the volume waits for the uploads.
        self.volume = writer.volumes.apply(lambda mounted: mounted[0].volume_name if mounted else None).apply(str)
        self.register_outputs({"volume": self.volume})
