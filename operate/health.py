"""Ask everything a deployed stack uses; exit 0 only when all of it is healthy. `--json` for machines."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import requests
from rich.console import Console

from operate.pulumi_command import PulumiCommand
from operate.status import show, statuses

# Both of PromptCraft's doors: the page and the API.
_DOORS = ("promptcraft", "promptcraft-api")
_TIMEOUT = (2.0, 5.0)


def answers(url: str) -> bool:
    """Whether `url`'s `/health` says ok, within seconds."""
    try:
        answer = requests.get(f"{url}/health", timeout=_TIMEOUT, allow_redirects=False)
        return answer.status_code == 200 and answer.json().get("status") == "ok"
    except (requests.RequestException, ValueError, AttributeError):
        return False


def main(arguments: list[str]) -> int:
    """Check the stack named by STACK, or else the one used last. Exit 1 for unhealthy, 2 for nothing deployed."""
    parser = argparse.ArgumentParser(prog="scripts/health-check.sh", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a document instead of a table")
    options = parser.parse_args(arguments)
    pulumi = PulumiCommand(Path.cwd(), "")
    stack = os.environ.get("STACK") or (pulumi.read("stack", "--show-name") or "").strip()
    outputs = PulumiCommand(Path.cwd(), stack).outputs() if stack else {}
    if not outputs:
        print(f"health-check: stack {stack or '(none chosen)'} is not deployed; run `make up` first", file=sys.stderr)
        return 2
    rows = statuses(outputs)
    doors = {door: answers(outputs["urls"][door]) for door in _DOORS if door in outputs["urls"]}
    healthy = bool(rows) and all(row.health == "ok" for row in rows) and all(doors.values())
    if options.json:
        services = {row.service: asdict(row) for row in rows}
        print(json.dumps({"stack": stack, "healthy": healthy, "services": services, "doors": doors}, indent=2))
    else:
        show(rows, stack, Console())
        for door, ok in doors.items():
            print(f"{outputs['urls'][door]}/health: {'ok' if ok else 'no answer'}")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
