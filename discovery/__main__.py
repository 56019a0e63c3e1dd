"""`python -m discovery`: what there is for each service of a stack, as a table or as JSON.

`python -m discovery approve NAME` lets an entry of the project's files be started and called; `python -m discovery
accept SERVER` takes a server's tools, as they are now, for its pin. Needs no Pulumi and no engine, and runs in any
folder: `CHECKOUT/.venv/bin/python CHECKOUT/discovery`. Exits 0 with a report, 2 for broken configuration.
"""

from __future__ import annotations

import os
import sys

# Nothing of the folder that is looked at is run: there Python would look for modules first, for pathlib as well.
_PACKAGE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
_FOREIGN = {"", os.getcwd(), _PACKAGE}  # noqa: PTH109
sys.path[:] = [os.path.dirname(_PACKAGE), *(folder for folder in sys.path if folder not in _FOREIGN)]  # noqa: PTH120

import argparse  # noqa: E402 - from where it should come
import json  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

_STARTED = time.monotonic()

from discovery import accept, approve  # noqa: E402 - the clock starts before the imports, which count too
from discovery.config import load_discovery_config  # noqa: E402
from discovery.deploy_look import request_for  # noqa: E402
from discovery.look import look  # noqa: E402
from discovery.report import Report  # noqa: E402
from discovery.request import DEFAULT_BUDGET_SECONDS  # noqa: E402
from errors import ConfigError  # noqa: E402
from reading.text import one_line  # noqa: E402
from settings import load_settings  # noqa: E402

# The look keeps at least this share of the budget, however slow the machine was to load the program.
_LEAST_SHARE = 0.5
# Seconds for what lies outside of this program's own clock: the interpreter's start and end.
_INTERPRETER_SECONDS = 0.1
_MAX_BUDGET = 600.0
_PIPE_COLUMNS = 160
_AGENTS = "agents"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    if arguments[:1] == ["approve"]:
        return approve.main(arguments[1:])
    if arguments[:1] == ["accept"]:
        return accept.main(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        report = _report(options)
        if options.explain and options.explain not in {*report.services, *report.agents, _AGENTS}:
            services, agents = ", ".join(report.services), ", ".join(report.agents) or "no agent was found"
            raise ConfigError(
                f"command line:1: --explain: {one_line(options.explain, 60)} is no service and no agent; "
                f"use {services}; {_AGENTS}; or one of these: {one_line(agents, 2000)}"
            )
        if options.write:
            _write(options.write, report)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    _show(report, options)
    return 0


def _report(options: argparse.Namespace) -> Report:
    root = (options.root or Path()).resolve()
    config = load_discovery_config(root)
    settings = load_settings(root, options.stack, os.environ, anywhere=True, is_named=options.root is not None)
    spent = time.monotonic() - _STARTED + _INTERPRETER_SECONDS
    budget = max(options.budget - spent, options.budget * _LEAST_SHARE)
    return look(request_for(root, settings, budget), config)


def _show(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        json.dump(report.to_json(), sys.stdout, indent=2)
        print()
        return
    from rich.console import Console  # loaded for people only

    from discovery import table

    # In a pipe there is no width to keep to.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    if options.explain == _AGENTS:
        table.explain_agents(report, console)
    elif options.explain:
        table.explain(report, options.explain, console)
    else:
        table.print_report(report, console)


def _write(path: Path, report: Report) -> None:
    """Write the snapshot whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            whole = Path(folder) / path.name
            whole.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
            whole.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}:1: --write: {error.strerror or error}; choose a path that can be written") from error


def _budget(text: str) -> float:
    value = float(text)
    if not 0 < value <= _MAX_BUDGET:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {_MAX_BUDGET:g} seconds")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m discovery",
        description=(__doc__ or "").partition("\n")[0],
        epilog="python -m discovery approve NAME: let an entry of the project's files be started and called; "
        "python -m discovery accept SERVER: take a server's tools, as they are now, for its pin",
    )
    parser.add_argument("--stack", default="dev", help="the stack to look for (default: dev)")
    parser.add_argument(
        "--root",
        type=Path,
        help="the project's folder; its stack files count (default: this folder)",
    )
    parser.add_argument(
        "--budget", type=_budget, default=DEFAULT_BUDGET_SECONDS, metavar="SECONDS", help="wall-clock limit of it all"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the report as JSON, as a snapshot")
    parser.add_argument(
        "--explain",
        metavar="NAME",
        help=f"show everything about one service or agent; {_AGENTS}: the order of their tiers",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
