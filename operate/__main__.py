"""`python -m operate ACTION --stack NAME`, in the project's root with `make -s env` applied."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import docker
from rich.console import Console

from catalog import PROJECT
from dashboards import load_dashboards
from discovery.config import load_agents_config, load_discovery_config
from discovery.deployment_lock import BusyError
from discovery.one_look import begin_deployment
from discovery.readers.checkpoint import read_checkpoint
from discovery.request import Checkpoint
from errors import ConfigError
from operate.backup import back_up, default_folder
from operate.backup import restore as restore_backup
from operate.data_stores import DataStore, find_stores
from operate.foreground import Interrupted, end_in_good_order
from operate.generated_secrets import ensure_secrets, secrets_to_preview_with
from operate.image_ages import image_ages
from operate.images import bring_images
from operate.leftovers import purge_volumes, remove_leftovers, start_stopped
from operate.pulumi_command import PulumiCommand
from operate.starting import StartError
from operate.status import settled, show, unavailable
from settings import VARIABLES, bring_along, load_settings

# Seconds the engine may take to answer: moving a large file can keep it busy.
_ENGINE_TIMEOUT = 600
# Seconds after an update in which the services may still find each other.
_SETTLING = 30.0
_QUIET = ("--suppress-permalink=true",)


def up(pulumi: PulumiCommand, console: Console) -> int:
    """Deploy, then show what runs."""
    if code := _settle(pulumi, console):
        return code
    _generate_secrets(pulumi, console)
    # Whatever an update left is gone by now, so that what is seen from here on holds for all of this deployment.
    begin_deployment()
    # With the stack's secrets: this look is the deployment's, and some services say who they are to their holder only.
    if code := bring_images(pulumi.root, load_settings(pulumi.root, pulumi.stack, os.environ, pulumi.secrets())):
        return code
    if code := pulumi.run("up", "--yes", "--skip-preview", "--stack", pulumi.stack, "--suppress-outputs", *_QUIET):
        return code
    # Whoever did not have to be replaced may stand still: pulumi compares with its state, not with the engine.
    try:
        with pulumi.standing_still():
            for name in start_stopped(docker.from_env(), pulumi.stack, _checkpoint(pulumi)):
                console.print(f"started {name}: it was stopped")
    except BusyError:
        # This update is done; whoever began the next one by hand decides what runs from here.
        console.print("another pulumi command has begun meanwhile; what stands still is left to it")
    return status(pulumi, console, seconds=_SETTLING)


def _settle(pulumi: PulumiCommand, console: Console) -> int:
    """Find out what became of an update that did not finish, and take away what it left; pulumi's exit code."""
    if pending := _checkpoint(pulumi).pending:
        console.print(f"asking the engine what became of {pending} steps that an update did not finish")
        code = pulumi.run(
            "refresh", "--yes", "--skip-preview", "--clear-pending-creates", "--stack", pulumi.stack, *_QUIET
        )
        if code:
            return code
    with pulumi.standing_still():
        for name in remove_leftovers(docker.from_env(), pulumi.stack, _checkpoint(pulumi)):
            console.print(f"removed {name}: left behind by an update of this stack that did not finish")
    return 0


def _checkpoint(pulumi: PulumiCommand) -> Checkpoint:
    return read_checkpoint(pulumi.root, PROJECT, pulumi.stack, os.environ)


def preview(pulumi: PulumiCommand, console: Console) -> int:
    """Show what would change; nothing is written, so a secret that `up` would generate is only stood in for."""
    stands_in = secrets_to_preview_with(pulumi, load_settings(pulumi.root, pulumi.stack, os.environ))
    for variable in (name for name in stands_in if name in VARIABLES):
        console.print(f"{VARIABLES[variable]}: none is set; `make up` generates one", soft_wrap=True)
    return pulumi.run("preview", "--stack", pulumi.stack, *_QUIET, **stands_in)


def down(pulumi: PulumiCommand, console: Console) -> int:
    """Destroy the stack but for protected data volumes; with PURGE=1 all of those as well."""
    checkpoint = _checkpoint(pulumi)
    purge = os.environ.get("PURGE") == "1"
    if code := _settle(pulumi, console):
        return code
    if purge and (code := pulumi.run("state", "unprotect", "--all", "--yes", "--stack", pulumi.stack)):
        return code
    kept = () if purge else ("--exclude-protected",)
    code = pulumi.run("destroy", "--yes", "--skip-preview", "--stack", pulumi.stack, *kept, *_QUIET)
    if code == 0 and purge:
        with pulumi.standing_still():
            for name in purge_volumes(docker.from_env(), pulumi.stack, checkpoint):
                console.print(f"deleted volume {name}")
    return code


def init(pulumi: PulumiCommand, console: Console) -> int:
    """Make every committed stack known to Pulumi, with its secrets, so that `pulumi up -s NAME` works by hand."""
    for path in sorted(pulumi.root.glob("Pulumi.*.yaml")):
        command = PulumiCommand(pulumi.root, path.name.removeprefix("Pulumi.").removesuffix(".yaml"))
        try:
            with command.alone("env", console.print):
                _bring_along(command, console)
                command.ensure_stack()
                _generate_secrets(command, console)
        except BusyError as busy:
            # Who changes it has made both already.
            console.print(f"{command.stack}: left alone: {busy}", soft_wrap=True)
    return 0


def status(pulumi: PulumiCommand, console: Console, seconds: float = 0.0) -> int:
    """Show what runs, when all is well or after `seconds`; 0 only when everything is healthy."""
    outputs = pulumi.outputs()
    rows = settled(outputs, seconds)
    show(rows, pulumi.stack, console, image_ages(docker.from_env, pulumi.stack, datetime.now(UTC)))
    for line in unavailable(outputs):
        console.print(line, soft_wrap=True, markup=False)
    return 0 if all(row.health == "ok" for row in rows) else 1


def _generate_secrets(pulumi: PulumiCommand, console: Console) -> None:
    for generated in ensure_secrets(pulumi, load_settings(pulumi.root, pulumi.stack, os.environ)):
        console.print(generated, soft_wrap=True)


def _bring_along(pulumi: PulumiCommand, console: Console) -> None:
    files = pulumi.files
    if bring_along(pulumi.root, files):
        console.print(
            f"copied what Pulumi had written into {files.committed} to {files.own}, where it writes now; "
            f"git checkout {files.committed} gives the committed file back",
            soft_wrap=True,
        )


def _check_files(root: Path, stack: str) -> None:
    """Read every file of ours, so that a mistake is one line here and not a failed update. Raises `ConfigError`."""
    load_settings(root, stack, os.environ)
    load_discovery_config(root)
    load_agents_config(root)
    load_dashboards(root)


def backup(pulumi: PulumiCommand, console: Console, folder: Path | None = None) -> int:
    """Copy the data of the stack's own Redis and Qdrant to `folder`, or to one named after the time."""
    engine, checkpoint, stores = _stores(pulumi)
    if not stores:
        raise ConfigError(f"Pulumi.{pulumi.stack}.yaml: stack: runs no Redis or Qdrant of its own; make up first")
    target = (folder or default_folder(pulumi.root, pulumi.stack)).absolute()
    with pulumi.standing_still():
        manifest = back_up(engine, stores, pulumi.stack, checkpoint.owner, target)
    for name, entry in manifest.services.items():
        console.print(f"{name} {entry.version}: {entry.bytes} bytes in {target / entry.file}", soft_wrap=True)
    return 0


def restore(pulumi: PulumiCommand, console: Console, folder: Path | None = None) -> int:
    """Put the data of a backup in the place of what the stack's own Redis and Qdrant hold."""
    if folder is None:
        raise ConfigError("FROM: names no backup; make restore FROM=backups/…")
    engine, checkpoint, stores = _stores(pulumi)
    with pulumi.standing_still():
        manifest = restore_backup(engine, stores, pulumi.stack, checkpoint.owner, folder.absolute())
    for name in manifest.services:
        console.print(f"{name}: restored to {manifest.created:%Y-%m-%d %H:%M:%S} UTC")
    return 0


def _stores(pulumi: PulumiCommand) -> tuple[docker.DockerClient, Checkpoint, dict[str, DataStore]]:
    engine = docker.from_env(timeout=_ENGINE_TIMEOUT)
    checkpoint = _checkpoint(pulumi)
    return engine, checkpoint, find_stores(engine, pulumi.stack, checkpoint)


def main(arguments: list[str]) -> int:
    """Run one action; returns the exit code.

    2 for broken configuration, 1 for a refusal, 128 plus its number for a signal: each with one line on stderr.
    """
    parser = argparse.ArgumentParser(prog="operate", description=__doc__)
    parser.add_argument("action", choices=("up", "preview", "down", "status", "init", "backup", "restore"))
    parser.add_argument("--stack", default="dev")
    parser.add_argument("--folder", type=Path, help="where a backup goes to, or comes from")
    options = parser.parse_args(arguments)
    end_in_good_order()
    try:
        return _run(options, PulumiCommand(Path.cwd(), options.stack), Console())
    except (ConfigError, BusyError, StartError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, ConfigError) else 1
    except Interrupted as interruption:
        print(f"{interruption}; make {options.action} again goes on from here", file=sys.stderr)  # noqa: T201
        return 128 + interruption.number


def _run(options: argparse.Namespace, pulumi: PulumiCommand, console: Console) -> int:
    """Look and show as it is; change what is to be changed with the stack for oneself."""
    _bring_along(pulumi, Console(stderr=True))
    _check_files(pulumi.root, pulumi.stack)
    if options.action == "init":
        return init(pulumi, console)
    if options.action in _SHOW:
        pulumi.ensure_stack()
        return _SHOW[options.action](pulumi, console)
    changes: dict[str, Callable[[PulumiCommand, Console], int]] = {
        "up": up,
        "down": down,
        "backup": partial(backup, folder=options.folder),
        "restore": partial(restore, folder=options.folder),
    }
    with pulumi.alone(options.action, console.print) as alone:
        alone.ensure_stack()
        return changes[options.action](alone, console)


_SHOW = {"preview": preview, "status": status}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
