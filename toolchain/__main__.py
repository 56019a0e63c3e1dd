"""`python3 -m toolchain COMMAND`: what the Makefile's targets call."""

from __future__ import annotations

import argparse
import os
import sys
import time

from toolchain import engine, environment, progress, requirement_locks, setup, type_check
from toolchain.failure import SetupError
from toolchain.images import digests, resolve, security_index
from toolchain.layout import Layout, layout


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.quiet:
        progress.be_quiet()
    try:
        return _run(options, layout())
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; run it again to go on", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, where: Layout) -> int:
    match options.command:
        case "setup":
            _set_up(options, where)
        case "env":
            sys.stdout.write(environment.export_lines(_set_up(options, where)))
        case "run":
            told = os.environ | _set_up(options, where)
            # State, backups and logs are nobody else's to read.
            os.umask(0o077)
            command = options.words[1:] if options.words[:1] == ["--"] else options.words
            os.execvpe(command[0], command, told)
        case "images":
            setup.make_images(where, os.environ, options.services, fresh=options.fresh)
        case "lock":
            requirement_locks.write(where, upgrade=options.upgrade)
        case "types":
            return type_check.run(where)
        case "ask-security-index":
            security_index.ask(where, frozenset(options.suites), now=time.time())
        case "lock-images":
            digests.lock(where.root)
        case "stop-engine":
            engine.stop(where)
    return 0


def _set_up(options: argparse.Namespace, where: Layout) -> dict[str, str]:
    started = time.monotonic()
    ready = setup.run(
        where,
        os.environ,
        parts=options.parts,
        services=resolve.ALL if options.all_images else resolve.DEFAULT,
        development=options.development,
        fresh=options.fresh,
    )
    progress.found(f"set-up is complete after {time.monotonic() - started:.1f} s")
    return environment.variables(ready, where, environment.without_ours(where, os.environ))


def _parts(text: str) -> frozenset[str]:
    parts = frozenset(text.split(","))
    if unknown := sorted(parts - setup.PARTS):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not a part")
    return parts


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="leave out what needed nothing")
    common.add_argument("--fresh", action="store_true", help="ask for better sources again: registries, installers")
    common.add_argument(
        "--parts",
        type=_parts,
        default=setup.PARTS,
        help=f"only these, separated by commas: {', '.join(sorted(setup.PARTS))}",
    )
    common.add_argument("--development", action="store_true", help="with what tests and checks need")
    common.add_argument("--all-images", action="store_true", help="of every service, not only of the default stack's")
    parser = argparse.ArgumentParser(prog="python3 -m toolchain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("setup", parents=[common], help="bring everything into place")
    commands.add_parser("env", parents=[common], help="set up, then print export lines")
    run = commands.add_parser("run", parents=[common], help="set up, then run a program in that environment")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- PROGRAM ARGUMENT", help="the program")
    make = commands.add_parser("images", parents=[common], help="bring the images of services into the engine")
    make.add_argument("services", nargs="*", default=list(resolve.DEFAULT))
    lock = commands.add_parser("lock", parents=[common], help="write requirements*.lock from requirements*.txt")
    lock.add_argument("--upgrade", action="store_true", help="take the newest of what comes along, too")
    commands.add_parser("types", parents=[common], help="check what runs with other packages than the tests")
    commands.add_parser("lock-images", parents=[common], help="write the tags' digests into images/references.json")
    asking = commands.add_parser("ask-security-index", parents=[common], help="read when Debian's security changed")
    asking.add_argument("suites", nargs="+")
    commands.add_parser("stop-engine", parents=[common], help="end the dockerd that set-up started")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
