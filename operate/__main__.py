"""`python -m operate up|preview|down|status|init --stack NAME`, in the project's root with `make -s env` applied."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import docker
from rich.console import Console

from catalog import PROJECT
from dashboards import load_dashboards
from discovery.checkpoint import read_checkpoint
from discovery.config import load_agents_config, load_discovery_config
from errors import ConfigError
from operate.grafana_password import ensure_grafana_password, password_to_preview_with
from operate.images import bring_images
from operate.leftovers import purge_volumes, remove_leftovers
from operate.pulumi_command import PulumiCommand
from operate.status import show, statuses, unavailable
from settings import load_settings

_QUIET = ("--suppress-permalink=true",)


def up(pulumi: PulumiCommand, console: Console) -> int:
    """Deploy, then show what runs."""
    settings = load_settings(pulumi.root, pulumi.stack, os.environ)
    if code := bring_images(pulumi.root, settings):
        return code
    if generated := ensure_grafana_password(pulumi, settings):
        console.print(generated, soft_wrap=True)
    engine = docker.from_env()
    checkpoint = read_checkpoint(pulumi.root, PROJECT, pulumi.stack, os.environ)
    for name in remove_leftovers(engine, pulumi.stack, checkpoint):
        console.print(f"removed {name}: left behind by an update of this stack that did not finish")
    code = pulumi.run("up", "--yes", "--skip-preview", "--stack", pulumi.stack, "--suppress-outputs", *_QUIET)
    return code or status(pulumi, console)


def preview(pulumi: PulumiCommand, console: Console) -> int:
    """Show what would change; nothing is written, so a password that `up` would generate is only stood in for."""
    stands_in = password_to_preview_with(pulumi, load_settings(pulumi.root, pulumi.stack, os.environ))
    if stands_in:
        console.print("grafanaPassword: none is set; `make up` generates one", soft_wrap=True)
    return pulumi.run("preview", "--stack", pulumi.stack, *_QUIET, **stands_in)


def down(pulumi: PulumiCommand, console: Console) -> int:
    """Destroy the stack; with PURGE=1 its data volumes as well."""
    checkpoint = read_checkpoint(pulumi.root, PROJECT, pulumi.stack, os.environ)
    code = pulumi.run("destroy", "--yes", "--skip-preview", "--stack", pulumi.stack, *_QUIET)
    if code == 0:
        engine = docker.from_env()
        remove_leftovers(engine, pulumi.stack, read_checkpoint(pulumi.root, PROJECT, pulumi.stack, os.environ))
        if os.environ.get("PURGE") == "1":
            for name in purge_volumes(engine, pulumi.stack, checkpoint):
                console.print(f"deleted volume {name}")
    return code


def init(pulumi: PulumiCommand, console: Console) -> int:
    """Make every committed stack known to Pulumi, so that `pulumi preview -s NAME` and `pulumi up` work by hand."""
    for path in sorted(pulumi.root.glob("Pulumi.*.yaml")):
        stack = PulumiCommand(pulumi.root, path.name.removeprefix("Pulumi.").removesuffix(".yaml"))
        stack.ensure_stack()
        if generated := ensure_grafana_password(stack, load_settings(stack.root, stack.stack, os.environ)):
            console.print(generated, soft_wrap=True)
    return 0


def status(pulumi: PulumiCommand, console: Console) -> int:
    """Show what runs; 0 only when everything is healthy."""
    outputs = pulumi.outputs()
    rows = statuses(outputs)
    show(rows, pulumi.stack, console)
    for line in unavailable(outputs):
        console.print(line, soft_wrap=True, markup=False)
    return 0 if all(row.health == "ok" for row in rows) else 1


def _check_files(root: Path, stack: str) -> None:
    """Read every file of ours, so that a mistake is one line here and not a failed update. Raises `ConfigError`."""
    load_settings(root, stack, os.environ)
    load_discovery_config(root)
    load_agents_config(root)
    load_dashboards(root)


_ACTIONS = {"up": up, "preview": preview, "down": down, "status": status, "init": init}


def main(arguments: list[str]) -> int:
    """Run one action. Exit 2 for broken configuration, with one line a problem on stderr."""
    parser = argparse.ArgumentParser(prog="operate", description=__doc__)
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument("--stack", default="dev")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    pulumi = PulumiCommand(root, options.stack)
    try:
        _check_files(root, options.stack)
        pulumi.ensure_stack()
        return _ACTIONS[options.action](pulumi, Console())
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
