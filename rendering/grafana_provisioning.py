"""What Grafana finds at its start: its data source, where dashboards lie, and the dashboards themselves.

All is JSON, which is YAML whatever the values hold
(https://grafana.com/docs/grafana/latest/administration/provisioning/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from planning.plan import FILES_PATH, Plan, remembered

_DASHBOARDS = "dashboards"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}


def grafana_files(plan: Plan, dashboards: Mapping[str, str]) -> dict[str, str]:
    """File contents by path below `FILES_PATH`; `dashboards` are their texts by file name."""
    return {
        "provisioning/datasources/prometheus.yaml": _text(
            datasources(datasource("Prometheus", remembered(plan.decisions["prometheus"]).endpoint))
        ),
        "provisioning/dashboards/promptcraft.yaml": _text(_PROVIDERS),
        **{f"{_DASHBOARDS}/{name}": text for name, text in dashboards.items()},
    }


def datasources(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """A provisioning file with these data sources."""
    return {"apiVersion": 1, "prune": True, "datasources": [dict(source) for source in sources]}


def datasource(name: str, url: str | None, *, is_default: bool = True) -> dict[str, Any]:
    """The Prometheus at `url`, under the uid that the dashboards ask for."""
    return {
        "name": name,
        **_SOURCE,
        "access": "proxy",
        "url": url,
        "isDefault": is_default,
        "editable": False,
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
