"""Redis's configuration. `appendfsync everysec`: a kill -9 loses at most the last second of writes."""

from __future__ import annotations

import hashlib

from planning.contents import SecretText
from planning.plan import SECRETS_PATH

CREDENTIAL_FILE = f"{SECRETS_PATH}/redis-acl.conf"

# Room for Redis's own buffers and the copy-on-write of a rewrite, below the container's limit.
_DATA_SHARE = 0.6


def redis_conf(memory_mb: int, data_path: str, *, protected: bool) -> str:
    """The text of `redis.conf` for a container limited to `memory_mb` MiB."""
    lines = [
        "bind * -::*",
        # Nothing is published on the host, and other networks don't reach the stack's own.
        "protected-mode no",
        "port 6379",
        f"dir {data_path}",
        "appendonly yes",
        "appendfsync everysec",
        "save 300 100",
        f"maxmemory {int(memory_mb * _DATA_SHARE)}mb",
        # The application shares its room out, by kind and caller; Redis would take whatever was used least.
        "maxmemory-policy noeviction",
    ]
    lines.append(f"include {CREDENTIAL_FILE}" if protected else _user("nopass"))
    return "\n".join(lines) + "\n"


def redis_acl(password: SecretText) -> SecretText:
    """The default user with this password, by hash: no quoting can go wrong, and the text holds no password."""
    return SecretText(_user(f"#{hashlib.sha256(password.text.encode()).hexdigest()}") + "\n")


# Of what Redis calls dangerous, its exporter and whoever asks who it is need these, and none of them writes.
_HARMLESS = ("info", "role", "config|get", "slowlog|len", "slowlog|get", "latency|latest", "latency|histogram")


def _user(password: str) -> str:
    """Whoever comes may use the data, not rule the server (https://redis.io/docs/latest/operate/oss_and_stack/
    management/security/acl/)."""
    harmless = " ".join(f"+{command}" for command in _HARMLESS)
    return f"user default on {password} ~* &* +@all -@admin -@dangerous {harmless}"
