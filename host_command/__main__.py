"""`python -m host_command start|stop`, run by the deployment itself: nothing secret is ever an argument.

Exit status: 0 done, 1 with the reason on stderr, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

from discovery.config import is_name
from errors import ConfigError
from host_command.command import Command
from host_command.failure import HostCommandError
from host_command.starting import Wanted, start
from host_command.stopping import stop


def main(arguments: Sequence[str]) -> int:
    """Start or stop one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command = Command(Path.cwd().resolve(), options.project, options.stack, options.service)
    try:
        done = stop(command, os.environ) if options.action == "stop" else start(command, _wanted(options), os.environ)
    except (HostCommandError, ConfigError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{done}\n")
    return 0


def _wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(
        key=options.key,
        fingerprint=options.fingerprint,
        run=options.run,
        address=str(options.address),
        subnet=str(options.subnet),
        port=options.port,
        host=options.host,
    )


def _service(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError("is no service's name")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m host_command", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    starting, stopping = actions.add_parser("start"), actions.add_parser("stop")
    for action in (starting, stopping):
        action.add_argument("--service", type=_service, required=True)
        action.add_argument("--project", required=True)
        action.add_argument("--stack", required=True)
    # Deployed stacks say `--evidence`.
    starting.add_argument("--key", "--evidence", dest="key", required=True, help="the entry's place (`Candidate.key`)")
    starting.add_argument("--fingerprint", required=True, help="of the command that was planned")
    starting.add_argument("--run", type=int, required=True, help="how often it has been started with this")
    starting.add_argument("--address", type=ip_address, required=True, help="the gateway of the stack's network")
    starting.add_argument("--subnet", type=ip_network, required=True, help="where the stack's containers are")
    starting.add_argument("--port", type=int, required=True)
    starting.add_argument("--host", required=True, help="the name under which containers reach it")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
