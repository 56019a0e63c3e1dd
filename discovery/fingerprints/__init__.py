"""One file a protocol; each asks "who are you?" and believes only what an impostor would not have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from catalog import Protocol
from discovery.fingerprints import grafana, mcp, nginx, openai, prometheus, promptcraft, qdrant, redis, upstash
from discovery.fingerprints.answer import Fingerprint

# By protocol and URL scheme: Redis is also offered over REST, and asked differently there.
FINGERPRINTS: Mapping[tuple[Protocol, str], Fingerprint] = MappingProxyType(
    {
        (Protocol.REDIS, "redis"): redis.identify,
        (Protocol.REDIS, "rediss"): redis.identify,
        (Protocol.REDIS, "http"): upstash.identify,
        (Protocol.REDIS, "https"): upstash.identify,
        **{
            (protocol, scheme): identify
            for scheme in ("http", "https")
            for protocol, identify in (
                (Protocol.MCP, mcp.identify),
                (Protocol.QDRANT, qdrant.identify),
                (Protocol.PROMETHEUS, prometheus.identify),
                (Protocol.GRAFANA, grafana.identify),
                (Protocol.PROMPTCRAFT, promptcraft.identify),
                (Protocol.NGINX, nginx.identify),
                (Protocol.OPENAI, openai.identify),
            )
        },
    }
)
