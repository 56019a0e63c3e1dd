"""`python -m bench`: run every benchmark, print a table, write `bench/results.json`; exit 1 where a limit is missed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import discovery, gateway, no_op, production

BENCHMARKS = (discovery, gateway, no_op, production)
RESULTS = Path(__file__).with_name("results.json")


def main() -> int:
    console = Console()
    found = []
    with console.status("measuring …") as status:
        for benchmark in BENCHMARKS:
            for figure in benchmark.figures():
                found.append(figure)
                status.update(f"measured: {figure.name}")
    table = Table("", "figure", "value", "limit", "of what")
    for figure in found:
        mark = "[green]holds[/]" if figure.holds else "[red]missed[/]"
        value, limit = (f"{number:.2f} {figure.unit}".strip() for number in (figure.value, figure.limit))
        table.add_row(mark, figure.name, value, f"≥ {limit}" if figure.at_least else limit, figure.detail)
    console.print(table)
    document = [asdict(figure) | {"holds": figure.holds} for figure in found]
    RESULTS.write_text(json.dumps({"schema_version": 1, "figures": document}, indent=2) + "\n")
    return 0 if all(figure.holds for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
