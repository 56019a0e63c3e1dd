"""Redis and Qdrant: what each needs beyond being a workload."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.files import Files
from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.plan import FILES_PATH, Plan, Workload
from rendering.qdrant_config import CONFIG_FILE, qdrant_config
from rendering.redis_conf import redis_acl, redis_conf


class Redis(pulumi.ComponentResource):
    """Redis with its own configuration file; behind a password where one is configured."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:data_stores:Redis", "redis", None, opts)
        password = secrets.get("redis")
        files = Files(
            plain={
                "redis.conf": redis_conf(workload.memory_mb, workload.data_path or "/data", protected=bool(password))
            },
            secret={"redis-acl.conf": redis_acl(password), "redis": password} if password else {},
        )
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=files,
            command=["redis-server", f"{FILES_PATH}/redis.conf"],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})


class Qdrant(pulumi.ComponentResource):
    """Qdrant; behind an API key where one is configured."""

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:data_stores:Qdrant", "qdrant", None, opts)
        key = secrets.get("qdrant")
        # The stand-in reads the key's own file.
        own = workload.image.stand_in is None
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(secret={"qdrant": key, "qdrant.yaml": qdrant_config(key)}) if key else None,
            command=["./qdrant", "--config-path", CONFIG_FILE] if key and own else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})
