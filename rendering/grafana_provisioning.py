"""What Grafana finds at its start: its data source, where dashboards lie, and the dashboards themselves.

All is JSON, which is YAML whatever the values hold
(https://grafana.com/docs/grafana/latest/administration/provisioning/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plan import FILES_PATH, Plan, summarised

PROVISIONING_PATH = f"{FILES_PATH}/provisioning"
_DASHBOARDS = "dashboards"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}


def grafana_files(plan: Plan, dashboards: Mapping[str, str]) -> dict[str, str]:
    """File contents by path below `FILES_PATH`; `dashboards` are their texts by file name."""
    return {
        "provisioning/datasources/prometheus.yaml": _text(datasources(plan)),
        "provisioning/dashboards/promptcraft.yaml": _text(_PROVIDERS),
        **{f"{_DASHBOARDS}/{name}": text for name, text in dashboards.items()},
    }


def datasources(plan: Plan, url: str | None = None) -> dict[str, Any]:
    """The data source: the Prometheus of the plan (at `url`, or as containers reach it), named as dashboards do."""
    return {
        "apiVersion": 1,
        "prune": True,
        "datasources": [
            {
                "name": "Prometheus",
                **_SOURCE,
                "access": "proxy",
                "url": url or summarised(plan.decisions["prometheus"])["endpoint"],
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


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
