"""Prometheus, its exporters, and Grafana: what each needs beyond being a workload."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pulumi

from catalog import EXPORTERS
from components.files import Files
from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.plan import SECRETS_PATH, Plan, Workload
from rendering.alert_rules import alert_rules
from rendering.grafana_provisioning import grafana_files
from rendering.prometheus_config import (
    CONFIG_FILE,
    RULES_FILE,
    prometheus_command,
    prometheus_config,
    qdrant_key_wanted,
)


class Prometheus(pulumi.ComponentResource):
    """Prometheus over everything of this stack that has metrics, with its alert rules."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:monitoring:Prometheus", "prometheus", None, opts)
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(
                plain={CONFIG_FILE: prometheus_config(plan, workload), RULES_FILE: alert_rules(plan)},
                secret={"qdrant": secrets["qdrant"]} if qdrant_key_wanted(plan, workload) else {},
            ),
            command=prometheus_command(workload.data_path or "/prometheus"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})


class Exporter(pulumi.ComponentResource):
    """What tells Prometheus the figures of a service; `after` is that service's containers."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:monitoring:Exporter", workload.service, None, opts)
        command = EXPORTERS[workload.service].command
        secret = {}
        if "redis" in secrets:
            # A password by server, which is how redis_exporter reads it from a file.
            secret = {_REDIS_PASSWORDS: json.dumps({"redis://redis:6379": secrets["redis"]})}
            command = (*command, f"--redis.password-file={SECRETS_PATH}/{_REDIS_PASSWORDS}")
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(secret=secret) if secret else None,
            command=command,
            after=after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})


_REDIS_PASSWORDS = "redis-passwords.json"


class Grafana(pulumi.ComponentResource):
    """Grafana with its data source and dashboards in place.

    `dashboards` are texts by file name; `after` is what must be healthy before it starts.
    """

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        dashboards: Mapping[str, str],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:monitoring:Grafana", "grafana", None, opts)
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(plain=grafana_files(plan, dashboards), secret={"grafana": secrets["grafana"]}),
            after=after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})
