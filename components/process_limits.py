"""The limit on processes, which pulumi-docker has no argument for: set on the engine once the containers exist."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_command as command


class ProcessLimits(pulumi.ComponentResource):
    """`limits` pairs container ids with the most processes each may have; run again when a container is replaced."""

    def __init__(
        self,
        limits: Sequence[tuple[Sequence[pulumi.Output[str]], int]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:process_limits:ProcessLimits", "process-limits", None, opts)
        updates = [
            pulumi.Output.concat(f"docker update --pids-limit {limit} ", container)
            for containers, limit in limits
            for container in containers
        ]
        command.local.Command(
            "process-limits",
            create=pulumi.Output.all(*updates).apply(" && ".join),
            triggers=[container for containers, _ in limits for container in containers],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
