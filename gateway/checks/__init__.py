"""One file a protocol: ask a service, now, who it is and whether it is ready. `CHECKS` says which asks what."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.checks.answer import Answer, Check
from gateway.checks.mcp import ask_mcp
from gateway.checks.openai import ask_openai
from gateway.checks.qdrant import ask_qdrant
from gateway.checks.redis import ask_redis
from gateway.checks.web import ask_grafana, ask_nginx, ask_prometheus

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "redis": ask_redis,
        "qdrant": ask_qdrant,
        "mcp": ask_mcp,
        "openai": ask_openai,
        "prometheus": ask_prometheus,
        "grafana": ask_grafana,
        "nginx": ask_nginx,
    }
)

__all__ = ["CHECKS", "Answer", "Check"]
