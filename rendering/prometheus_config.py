"""Prometheus: what it scrapes, and for how long it keeps it.

The file is JSON, which is YAML whatever the values hold. Everything is found by name, so another replica appears
without a change here.
"""

from __future__ import annotations

import json
from typing import Any

from catalog import EXPORTERS, SERVICES
from planning.plan import FILES_PATH, SECRETS_PATH, Deploy, Plan, Workload

CONFIG_FILE = "prometheus.yml"
RULES_FILE = "rules.yml"

RETENTION_DAYS = 15
# Of the disk that the catalog plans for; the rest is for the write-ahead log and for compaction.
_BLOCKS_SHARE = 0.8
_SECONDS = 5
# A replica that died leaves its name at once. Asked less often, it is seen down and not merely gone.
_REFRESH_SECONDS = 15


def prometheus_command(data_path: str) -> tuple[str, ...]:
    """Prometheus' arguments. Neither its lifecycle API nor its admin API is enabled; no page of another origin may read
    an answer (no browser sends the origin `none`), as by default each may."""
    megabytes = int(SERVICES["prometheus"].disk_gb * 1024 * _BLOCKS_SHARE)
    return (
        f"--config.file={FILES_PATH}/{CONFIG_FILE}",
        f"--storage.tsdb.path={data_path}",
        f"--storage.tsdb.retention.time={RETENTION_DAYS}d",
        f"--storage.tsdb.retention.size={megabytes}MB",
        "--web.cors.origin=none",
        "--log.format=json",
    )


def qdrant_key_wanted(plan: Plan, workload: Workload) -> bool:
    """Whether Prometheus must show Qdrant's key to read its metrics."""
    return "qdrant" in jobs(plan) and "qdrant" in workload.secrets


def jobs(plan: Plan) -> dict[str, int]:
    """Port by name of everything of this stack that has metrics; what is reused is its owner's to watch."""
    own = {
        service.name: service.metrics_port
        for service in SERVICES.values()
        if service.metrics_port and isinstance(plan.decisions[service.name], Deploy)
    }
    return own | {exporter.service: EXPORTERS[exporter.service].port for exporter in plan.exporters}


def prometheus_config(plan: Plan, workload: Workload) -> str:
    """The text of `prometheus.yml`."""
    key_file = f"{SECRETS_PATH}/qdrant" if qdrant_key_wanted(plan, workload) else None
    return _document(
        {
            "global": {"scrape_interval": f"{_SECONDS}s", "evaluation_interval": f"{_SECONDS}s"},
            "rule_files": [f"{FILES_PATH}/{RULES_FILE}"],
            "scrape_configs": [_itself(), *scrape_configs(plan, key_file)],
        }
    )


def scrape_configs(plan: Plan, qdrant_key_file: str | None) -> list[dict[str, Any]]:
    """A job for everything with metrics, for a Prometheus on the stack's network."""
    configs = [_job(name, port) for name, port in jobs(plan).items()]
    for config in configs:
        if config["job_name"] == "qdrant" and qdrant_key_file:
            config["authorization"] = {"type": "Bearer", "credentials_file": qdrant_key_file}
    return configs


def _itself() -> dict[str, Any]:
    return {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{SERVICES['prometheus'].port}"]}]}


def _job(name: str, port: int) -> dict[str, Any]:
    addresses = {"names": [name], "type": "A", "port": port, "refresh_interval": f"{_REFRESH_SECONDS}s"}
    return {"job_name": name, "dns_sd_configs": [addresses]}


def _document(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
