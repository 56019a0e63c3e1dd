"""What Grafana finds at its start: its data source, where dashboards lie, and the dashboard itself.

All is JSON, which is YAML whatever the values hold
(https://grafana.com/docs/grafana/latest/administration/provisioning/).
"""

from __future__ import annotations

import json
from typing import Any

from plan import FILES_PATH, Plan, summarised

PROVISIONING_PATH = f"{FILES_PATH}/provisioning"
_DASHBOARDS = "dashboards"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}


def grafana_files(plan: Plan) -> dict[str, str]:
    """File contents by path below `FILES_PATH`."""
    return {
        "provisioning/datasources/prometheus.yaml": _text(_datasources(summarised(plan.decisions["prometheus"]))),
        "provisioning/dashboards/promptcraft.yaml": _text(_PROVIDERS),
        f"{_DASHBOARDS}/promptcraft.json": _text(_dashboard()),
    }


def _datasources(prometheus: dict[str, str | None]) -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "prune": True,
        "datasources": [
            {
                "name": "Prometheus",
                **_SOURCE,
                "access": "proxy",
                "url": prometheus["endpoint"],
                "isDefault": True,
                "editable": False,
            }
        ],
    }


_PROVIDERS = {
    "apiVersion": 1,
    "providers": [
        {
            "name": "promptcraft",
            "type": "file",
            "allowUiUpdates": False,
            "disableDeletion": True,
            "options": {"path": f"{FILES_PATH}/{_DASHBOARDS}"},
        }
    ],
}

_RUNS = "promptcraft_agent_run_seconds"
_MCP = "promptcraft_mcp_requests_total"
_HTTP = "promptcraft_http_requests_total"

# Title, unit, and each query with its legend.
_PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Agent execution times",
        "s",
        tuple(
            (
                f"histogram_quantile({quantile}, sum by (le, agent) (rate({_RUNS}_bucket[5m])))",
                f"{{{{agent}}}} p{int(quantile * 100)}",
            )
            for quantile in (0.5, 0.95)
        ),
    ),
    (
        "MCP response rates",
        "reqps",
        ((f"sum by (server, outcome) (rate({_MCP}[1m]))", "{{server}} {{outcome}}"),),
    ),
    (
        "Memory and CPU",
        "bytes",
        (
            ("process_resident_memory_bytes", "{{job}} {{instance}} memory"),
            ("rate(process_cpu_seconds_total[1m])", "{{job}} {{instance}} CPU"),
        ),
    ),
    (
        "Request throughput",
        "reqps",
        ((f"sum by (instance) (rate({_HTTP}[1m]))", "{{instance}}"),),
    ),
    (
        "Error rates",
        "percentunit",
        (
            (
                f'(sum(rate({_HTTP}{{status=~"5.."}}[1m])) or vector(0)) / sum(rate({_HTTP}[1m]))',
                "requests",
            ),
            (
                f'(sum(rate({_RUNS}_count{{outcome!="succeeded"}}[1m])) or vector(0)) / sum(rate({_RUNS}_count[1m]))',
                "agents",
            ),
        ),
    ),
)
_COLUMNS, _WIDTH, _HEIGHT = 2, 12, 8


def _dashboard() -> dict[str, Any]:
    return {
        "uid": "promptcraft",
        "title": "PromptCraft",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-15m", "to": "now"},
        "panels": [_panel(number, *panel) for number, panel in enumerate(_PANELS)],
    }


def _panel(number: int, title: str, unit: str, queries: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": _cores_on_the_right(queries)},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(queries)
        ],
    }


def _cores_on_the_right(queries: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """CPU beside memory has an axis of its own: cores, not bytes."""
    return [
        {
            "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + index)},
            "properties": [{"id": "unit", "value": "none"}, {"id": "custom.axisPlacement", "value": "right"}],
        }
        for index, (expression, _) in enumerate(queries)
        if "cpu" in expression
    ]


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
