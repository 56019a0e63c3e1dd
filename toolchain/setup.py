"""All of set-up in order. A second run finds everything by content hashes and one call to the engine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolchain import browser, content, engine, progress, python_environment, state
from toolchain.environment import Ready, without_ours
from toolchain.images import debian_base, references, resolve, security_index
from toolchain.layout import Layout, write_private
from toolchain.pulumi import command_line, plugins, versions
from toolchain.pulumi.command_line import INSTALLER, Cli
from toolchain.pulumi.plugins import Home
from toolchain.reachability import Outside

# The Python environment is always made: without it there is nothing to run.
PARTS = frozenset({"python", "engine", "pulumi", "images", "browser"})


def run(
    layout: Layout,
    environment: Mapping[str, str],
    *,
    parts: frozenset[str] = PARTS,
    services: Sequence[str] = resolve.DEFAULT,
    development: bool = False,
    fresh: bool = False,
) -> Ready:
    """Bring `parts` into place, and the images of `services`.

    `development` adds what tests need; `fresh` asks for better sources again.

    Raises `SetupError` for the first part that can't be had.
    """
    before = without_ours(layout, environment)
    known = references.load(layout.root)
    outside = Outside([INSTALLER, *resolve.addresses(known[name] for name in services)])
    state.ensure(layout)
    # First, because it is the one part that may need another user's rights.
    docker = engine.reach(layout, before) if {"engine", "images"} & parts else None

    def pulumi_side() -> tuple[Cli, Home] | tuple[None, None]:
        return _pulumi(layout, outside, before, fresh=fresh) if "pulumi" in parts else (None, None)

    def python_side() -> None:
        python_environment.ensure(layout, development=development)
        if docker and "images" in parts:
            resolve.resolve(services, docker, layout, outside, fresh=fresh)
            if resolve.made_here(layout):
                security_index.ask_meanwhile(layout, debian_base.SUITES, time.time())

    with ThreadPoolExecutor(max_workers=3) as sides:
        filling, building = sides.submit(python_side), sides.submit(pulumi_side)
        browsing = sides.submit(browser.ensure) if development and "browser" in parts else None
        filling.result()
        cli, home = building.result()
        if browsing:
            browsing.result()
    return Ready(cli, home, docker.host if docker else None)


def _pulumi(layout: Layout, outside: Outside, environment: Mapping[str, str], *, fresh: bool) -> tuple[Cli, Home]:
    pinned = versions.pinned(layout.root / versions.REQUIREMENTS)
    inputs = _pulumi_inputs(layout, environment)
    if not fresh and (known := _remembered(layout, inputs, pinned.plugins)):
        progress.found(f"pulumi and its plugins ({known[0].program})")
        return known
    cli = command_line.obtain(layout, outside, pinned.pulumi, environment.get("PATH", ""))
    progress.found(f"pulumi {pinned.pulumi if cli.part.folders else cli.part.program}: {cli.how}")
    home = plugins.obtain(pinned.plugins, cli.part, layout, outside, environment)
    document = {
        "inputs": inputs,
        "program": str(cli.part.program),
        "folders": [str(folder) for folder in cli.part.folders],
        "home": str(home.path),
        "ours": home.ours,
    }
    write_private(layout.stamp, json.dumps(document, indent=2) + "\n")
    return cli.part, home


def _pulumi_inputs(layout: Layout, environment: Mapping[str, str]) -> str:
    """A hash over all that decides which Pulumi is taken, without starting it."""
    parts: list[str | bytes] = [(layout.root / versions.REQUIREMENTS).read_bytes()]
    parts += [environment.get("PULUMI_HOME", ""), str(layout.cache)]
    parts += [content.of_folder(module.path) for module in plugins.MODULES.values()]
    for folder in ("cli", "python-host"):
        parts.append(content.of_folder(layout.root / "toolchain" / "pulumi" / folder))
    for entry in environment.get("PATH", "").split(":"):
        program = Path(entry) / "pulumi"
        if program.is_file():
            status = program.stat()
            parts.append(f"{program}:{status.st_mtime_ns}:{status.st_size}")
            break
    return content.of_parts(parts)


def _remembered(layout: Layout, inputs: str, wanted: tuple[versions.Plugin, ...]) -> tuple[Cli, Home] | None:
    """What was chosen last time, if the same would be chosen again and is still there."""
    try:
        document = json.loads(layout.stamp.read_text(encoding="utf-8"))
        cli = Cli(Path(document["program"]), tuple(Path(folder) for folder in document["folders"]))
        home = Home(Path(document["home"]), bool(document["ours"]))
        same = document["inputs"] == inputs
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = cli.program.is_file() and all(folder.is_dir() for folder in cli.folders)
    beside = cli.program.resolve().parent
    plugged = all(
        plugins.program(home.path, plugin).is_file() or (beside / plugin.program).is_file() for plugin in wanted
    )
    return (cli, home) if same and there and plugged else None


def make_images(layout: Layout, environment: Mapping[str, str], services: Sequence[str], *, fresh: bool) -> None:
    """Only the images of `services`, for a plan that declares more than the default stack."""
    known = references.load(layout.root)
    outside = Outside(resolve.addresses(known[name] for name in services if name in known))
    resolve.resolve(services, engine.reach(layout, environment), layout, outside, fresh=fresh)
