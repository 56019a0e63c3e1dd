"""A workload's own image is asked whether it takes the files that are meant for it, before anything is replaced.

A throw-away container without a network reads them from its standard input, so that a refused set of files leaves no
trace on the engine, and the next update starts from where this one did.
"""

from __future__ import annotations

import base64
import gzip
import io
import shlex
import tarfile
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_command as command

from components.files import Files
from components.labels import labels
from planning.plan import FILES_PATH, Plan, Workload

# MiB. All files of a workload together are far smaller.
_FILES_MB = 4
# Of the command on this host, not of the container. It holds 128 KiB at most (execve's limit for one variable).
_VARIABLE = "PROMPTCRAFT_FILES"


class FilesCheck(pulumi.ComponentResource):
    """Run `check` (a command in the image) on `files`; the update ends with what it says where it fails."""

    passed: pulumi.Resource

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        image: pulumi.Input[str],
        files: Files,
        check: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:files_check:FilesCheck", f"{workload.service}-check", None, opts)
        unpack = f"base64 -d | tar -xzf - -C {FILES_PATH} && exec {shlex.join(check)}"
        archive = _archive(files.by_path())
        self.passed = command.local.Command(
            f"{workload.service}-check",
            create=pulumi.Output.from_input(image).apply(
                lambda identity: (
                    f'printf %s "${_VARIABLE}" | ' + shlex.join([*_docker_run(workload, plan), identity, "-c", unpack])
                )
            ),
            environment={_VARIABLE: pulumi.Output.secret(archive) if files.secret else archive},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def _docker_run(workload: Workload, plan: Plan) -> list[str]:
    uid, gid = workload.user.split(":")
    writable = f"rw,noexec,nosuid,nodev,uid={uid},gid={gid}"
    marks = [f"--label={name}={value}" for name, value in labels(plan, f"{workload.service}-check").items()]
    tmpfs = [f"--tmpfs={path}:{writable},size={size}m" for path, size in sorted(workload.tmpfs_mb.items())]
    return [
        *("docker", "run", "--rm", "--interactive", "--network=none", "--read-only", f"--user={workload.user}"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--log-driver=none"),
        *(f"--memory={workload.memory_mb}m", f"--memory-swap={workload.memory_mb}m", f"--pids-limit={workload.pids}"),
        *(f"--tmpfs={FILES_PATH}:{writable},size={_FILES_MB}m", *tmpfs, *marks, "--entrypoint=sh"),
    ]


def _archive(files: Mapping[str, str]) -> str:
    """A compressed tar archive in base64, the same for the same files: no times, no owners."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for path, content in sorted(files.items()):
            data = content.encode()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return base64.b64encode(gzip.compress(written.getvalue(), mtime=0)).decode("ascii")
