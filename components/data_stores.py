"""Redis and Qdrant: what each needs beyond being a workload."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.plan import FILES_PATH
from rendering.qdrant_config import CONFIG_FILE, qdrant_config
from rendering.redis_conf import redis_acl, redis_conf


class Redis(ServiceComponent):
    """Redis with its own configuration file; behind a password where one is configured."""

    TOKEN = "promptcraft:data_stores:Redis"

    def setup(self, declared: Declared) -> Setup:
        workload, password = declared.workload, declared.secrets.get("redis")
        conf = redis_conf(workload.memory_mb, workload.data_path or "/data", protected=password is not None)
        files = Files(
            plain={"redis.conf": conf},
            secret={"redis-acl.conf": redis_acl(password), "redis": password} if password else {},
        )
        return Setup(files, command=["redis-server", f"{FILES_PATH}/redis.conf"])


class Qdrant(ServiceComponent):
    """Qdrant; behind an API key where one is configured."""

    TOKEN = "promptcraft:data_stores:Qdrant"

    def setup(self, declared: Declared) -> Setup:
        key = declared.secrets.get("qdrant")
        if key is None:
            return Setup()
        # The stand-in reads the key's own file.
        own = declared.workload.image.stand_in is None
        return Setup(
            Files(secret={"qdrant": key, "qdrant.yaml": qdrant_config(key)}),
            command=["./qdrant", "--config-path", CONFIG_FILE] if own else None,
        )
