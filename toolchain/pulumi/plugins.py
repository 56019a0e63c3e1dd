"""Pulumi's resource plugins: where Pulumi keeps them, else by `pulumi plugin install`, else built.

Built ones go into a Pulumi home of our own, so that they never shadow an official plugin for other projects.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain import progress, shell, ways
from toolchain.failure import SetupError
from toolchain.layout import Layout, cached_folder
from toolchain.pulumi import go_modules
from toolchain.pulumi.command_line import INSTALLER, Cli
from toolchain.pulumi.go_modules import Module
from toolchain.pulumi.versions import Plugin
from toolchain.reachability import Outside

MODULES = {
    "docker": Module("docker-plugin", "pulumi-resource-docker", about=" (about 2 minutes on 2 cores the first time)"),
    "command": Module("command-plugin", "pulumi-resource-command"),
}


@dataclass(frozen=True)
class Home:
    """Pulumi's home folder with every plugin in it. `ours` is set where it is not the one Pulumi takes by itself."""

    path: Path
    ours: bool


def configured_home(environment: Mapping[str, str]) -> Path:
    """The home that Pulumi takes by itself."""
    return Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")


def our_home(layout: Layout) -> Path:
    """The home for plugins that were built here."""
    return layout.cache / "pulumi-home"


def program(home: Path, plugin: Plugin) -> Path:
    """Where Pulumi looks for `plugin`'s program."""
    return home / "plugins" / plugin.folder / plugin.program


def obtain(
    plugins: tuple[Plugin, ...], cli: Cli, layout: Layout, outside: Outside, environment: Mapping[str, str]
) -> Home:
    """A home with all of `plugins`. Raises `SetupError` where one can't be had."""
    home = configured_home(environment)
    # A home that was named on purpose is the one to fill; the user's own is left alone.
    target = home if environment.get("PULUMI_HOME") else our_home(layout)
    built = []
    for plugin in plugins:
        how = _obtain(plugin, cli, home, target, layout, outside)
        progress.found(f"plugin {plugin.name} {plugin.version}: {how}")
        built.append(how == "built")
    if target == home or not any(built):
        return Home(home, ours=False)
    for plugin in plugins:
        _share(home / "plugins" / plugin.folder, target / "plugins" / plugin.folder)
    return Home(target, ours=True)


def _obtain(plugin: Plugin, cli: Cli, home: Path, target: Path, layout: Layout, outside: Outside) -> str:
    def found() -> Path | None:
        for place in (program(home, plugin), cli.program.resolve().parent / plugin.program):
            if place.is_file():
                return place
        return None

    def installed() -> Path | None:
        if not outside.answers(INSTALLER):
            return None
        try:
            with progress.step(f"installing Pulumi's plugin {plugin.name} {plugin.version}"):
                shell.run(
                    [cli.program, "plugin", "install", "resource", plugin.name, plugin.version],
                    environment=os.environ | {"PULUMI_HOME": str(home)},
                )
        except SetupError as error:
            progress.note(f"plugin {plugin.name} can't be installed: {str(error).splitlines()[-1]}")
            return None
        return program(home, plugin)

    def built() -> Path:
        module = MODULES[plugin.name]
        _share(go_modules.build(module, layout), target / "plugins" / plugin.folder)
        return program(target, plugin)

    return ways.first(
        f"Pulumi's plugin {plugin.name}",
        (ways.Way("found", found), ways.Way("installed", installed), ways.Way("built", built)),
    ).how


def _share(source: Path, target: Path) -> None:
    """Make `target` hold the same files as `source`, without a second copy on disk where that is possible."""
    if not source.is_dir() or source == target:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with cached_folder(target) as partial:
        if partial is not None:
            shutil.copytree(source, partial, copy_function=_link_or_copy, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
