"""`python -m discovery accept SERVER`: take a server's tools, as the running stack lists them, for its pin.

It shows how they differ from what was accepted, and writes `pins/<server>.json` with exactly what it showed; the next
`up` brings it to the gateway (docs/pins.md). Exits 0 when the pin is written or is what it should be, 1 where the
gateway can't be asked, 2 for broken configuration or a server that the stack does not use.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.config import load_discovery_config
from discovery.deploy_look import request_for, tokens_of
from discovery.look import look
from discovery.readers.tool_pins import file_of, pin_text, read_tool_pin
from discovery.running_gateway import TOOLS, GatewayError, address_of, ask
from errors import ConfigError
from reading.text import one_line
from settings import load_settings

# Seconds for a server that is slow to list its tools, which the gateway asks first.
_SECONDS = 30.0
_PULUMI_SECONDS = 30.0
_TOKENS = "gatewayTokens"


@dataclass(frozen=True)
class Offer:
    """What could be accepted of one server: its pin as it would be, and how it differs from the one there is.

    `tools` are the gateway's words on each tool: name, kind, changes, marks.
    """

    server: str
    text: str
    before: str
    tools: Sequence[dict[str, Any]]

    @property
    def is_new(self) -> bool:
        return self.text != self.before

    def difference(self) -> Iterator[str]:
        """The difference of the file, as a review will show it."""
        file = file_of(self.server)
        lines = difflib.unified_diff(self.before.splitlines(), self.text.splitlines(), file, file, lineterm="")
        yield from lines

    def to_json(self) -> dict[str, Any]:
        return {"server": self.server, "file": file_of(self.server), "changed": self.is_new, "tools": list(self.tools)}


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    root = options.root.resolve()
    try:
        offers = _offers(root, options)
        for offer in offers:
            if not options.json:
                _show(offer)
            if offer.is_new and not options.dry_run:
                _write(root, offer)
                if not options.json:
                    _say(f"wrote {file_of(offer.server)}; commit it; the next `up` replaces the gateway, only it")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except GatewayError as error:
        sys.stderr.write(f"the gateway of stack {options.stack} {error}\n")
        return 1
    if options.json:
        written = [offer.to_json() | {"written": offer.is_new and not options.dry_run} for offer in offers]
        json.dump({"schema_version": 1, "stack": options.stack, "servers": written}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    return 0


def _offers(root: Path, options: argparse.Namespace) -> list[Offer]:
    settings = load_settings(root, options.stack, os.environ, anywhere=True, is_named=True)
    report = look(request_for(root, settings), load_discovery_config(root))
    address = address_of(report)
    if address is None:
        raise GatewayError("does not run on this host, or can't be told from another's; make up first")
    tokens = tokens_of(settings) or _generated_tokens(root, options.stack)
    listed = ask(address, TOOLS, tokens, _SECONDS)
    known = {str(server["name"]): server for server in listed["servers"]}
    names = sorted(known) if options.all else [options.server]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"command line:1: accept: {one_line(unknown[0], 60)} is no MCP server that the stack {options.stack} uses; "
            f"use one of: {', '.join(sorted(known)) or 'there are none'}"
        )
    return [_offer(root, name, _whole(address, name, tokens)) for name in names]


def _whole(address: str, name: str, tokens: Sequence[str]) -> dict[str, Any]:
    """One server's tools, as the token is shown them that may see all."""
    answer: dict[str, Any] = {}
    for place in range(max(1, len(tokens))):
        # Each after the first is tried only where the one before was let in, and not shown all.
        answer = ask(address, f"{TOOLS}/{name}", tokens[place:], _SECONDS)
        if answer.get("is_whole"):
            break
    return answer


def _offer(root: Path, name: str, whole: dict[str, Any]) -> Offer:
    try:
        if not whole["is_whole"]:
            raise GatewayError(
                f"does not show all tools of {name}, and what is not shown is not accepted; "
                "give the token `access` to all of the server, or shorten the server's list (at most 2000)"
            )
        text = pin_text(whole["listed"])
    except (KeyError, TypeError, AttributeError) as error:
        raise GatewayError("answers what no gateway of this version says") from error
    before = (root / file_of(name)).read_text(encoding="utf-8") if read_tool_pin(root, name) else ""
    return Offer(name, text, before, whole["tools"])


def _generated_tokens(root: Path, stack: str) -> tuple[str, ...]:
    """The tokens that the stack's own configuration holds encrypted, by Pulumi; none where it does not say."""
    command = ["pulumi", "config", "get", _TOKENS, "--non-interactive", "--stack", stack]
    try:
        done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, timeout=_PULUMI_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(one.rpartition(":")[2] for one in done.stdout.split()) if done.returncode == 0 else ()


def _show(offer: Offer) -> None:
    from rich.console import Console  # loaded for people only
    from rich.table import Table

    # In a pipe there is no width to keep to.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    table = Table(title=f"{offer.server}: its tools against {file_of(offer.server)}", title_justify="left")
    for column in ("tool", "is", "what changed, and what is marked"):
        table.add_column(column, overflow="fold")
    for tool in offer.tools:
        told = [f"{change['where']}: {change['says']}" for change in tool["changes"]]
        told += [f"marked: {mark['where']} {mark['says']}: {mark['words']}" for mark in tool["marks"]]
        table.add_row(one_line(tool["name"], 80), tool["kind"], "\n".join(one_line(line) for line in told))
    console.print(table)
    for line in offer.difference():
        console.print(line, soft_wrap=True)
    if not offer.is_new:
        _say(f"{file_of(offer.server)} says so already; nothing was written")


def _write(root: Path, offer: Offer) -> None:
    """Write the pin whole or not at all. Raises `ConfigError`."""
    path = root / file_of(offer.server)
    try:
        path.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            whole = Path(folder) / path.name
            whole.write_text(offer.text, encoding="utf-8")
            whole.replace(path)
    except OSError as error:
        raise ConfigError(f"{file_of(offer.server)}:1: file: {error.strerror or error}; make it writable") from error


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m discovery accept", description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("server", metavar="SERVER", nargs="?", help="the server, as the table calls it")
    which.add_argument("--all", action="store_true", help="every MCP server that the stack uses")
    parser.add_argument("--stack", default="dev", help="the stack that runs (default: dev)")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.add_argument("--dry-run", action="store_true", help="show, and write nothing")
    parser.add_argument("--json", action="store_true", help="print what was accepted as JSON")
    return parser
