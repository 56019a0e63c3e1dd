"""The table that `make up` ends with: each service, where it comes from, its address, its health."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import requests
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog import FINDABLE
from discovery.report import DEPLOYED
from operate.image_ages import told as told_age

_TIMEOUT = (2.0, 10.0)
_PAUSE = 0.5


@dataclass(frozen=True)
class ServiceStatus:
    """One row. `health` is the application's own word for it; `stand_in` says what is not the real thing.

    `problem` is what the application met when it asked, from inside its container.
    """

    service: str
    source: str
    url: str
    health: str
    stand_in: str | None = None
    problem: str | None = None

    @property
    def complaint(self) -> str | None:
        """Why a service can't be used after all; None where it can, or where the application did not ask."""
        if self.health in ("ok", "unknown") or (self.source == DEPLOYED and self.problem is None):
            return None
        told = self.problem or "it gave no reason"
        return f"{self.service}: {self.url} ({self.source}) is {self.health} for the application's container: {told}"


def statuses(outputs: dict[str, Any]) -> list[ServiceStatus]:
    """The rows for a stack's outputs, asking the running application what it sees."""
    detailed = _ask(f"{outputs['urls'].get('promptcraft-api', '')}/api/health/detailed")
    seen = detailed.get("services", {})
    rows = []
    for service, chosen in outputs["plan"].items():
        if chosen["source"] == "omitted":
            continue
        told = seen.get(service, {})
        own = detailed.get("status") if service == "promptcraft" else told.get("status")
        rows.append(
            ServiceStatus(
                service=service,
                source=chosen["source"],
                url=outputs["urls"].get(service) or f"{chosen['endpoint']} (inside)",
                health=str(own or "unknown"),
                stand_in=told.get("stand_in"),
                problem=told.get("problem"),
            )
        )
    return rows


def settled(outputs: dict[str, Any], seconds: float) -> list[ServiceStatus]:
    """The rows once all is well, or after `seconds`: who was started a moment ago may not have met everybody yet."""
    deadline = time.monotonic() + seconds
    while True:
        rows = statuses(outputs)
        if all(row.health == "ok" for row in rows) or time.monotonic() > deadline:
            return rows
        time.sleep(_PAUSE)


def unavailable(outputs: dict[str, Any]) -> list[str]:
    """One line for each MCP server that the stack wants and can't have, and one without any model; with what to do."""
    # A deployment of before 2026-11-27 says nothing of models.
    problem = outputs.get("models", {}).get("problem")
    servers = [
        f"{name} is unavailable: {chosen['reason']}"
        for name, chosen in outputs["plan"].items()
        if name not in FINDABLE and chosen["source"] == "omitted"
    ]
    return [*servers, problem] if problem else servers


def _ask(url: str) -> dict[str, Any]:
    try:
        answer = requests.get(url, timeout=_TIMEOUT, allow_redirects=False)
        document = answer.json()
    except (requests.RequestException, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def show(rows: list[ServiceStatus], stack: str, console: Console, ages: Mapping[str, timedelta] | None = None) -> None:
    """Print the rows, and what can't be used from inside; a stand-in is named as one.

    With `ages` (image_ages.py), the age of each image that the stack runs itself.
    """
    table = Table(title=f"PromptCraft · {stack}", title_justify="left")
    for column in ("service", "source", "URL", *(() if ages is None else ("image",)), "health"):
        table.add_column(column, overflow="fold")
    for row in rows:
        style = "green" if row.health == "ok" else "red"
        source = f"{row.source}\n[yellow]stand-in: {row.stand_in}[/]" if row.stand_in else row.source
        own = row.source == DEPLOYED
        age = () if ages is None else (told_age(ages.get(row.service)) if own else "",)
        table.add_row(row.service, source, row.url, *age, f"[{style}]{row.health}[/]")
    console.print(table)
    for row in rows:
        if row.complaint:
            console.print(f"[red]{escape(row.complaint)}[/]", soft_wrap=True)
