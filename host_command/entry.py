"""The command as it stands in the user's file now, and what it is given: what Claude Code would give it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from discovery.probes.other_tools import other_tools
from discovery.probes.user_files import user_files
from discovery.report import HostLaunch
from discovery.request import Request
from host_command.bridge_environment import cache_of
from host_command.command import Command
from host_command.failure import HostCommandError
from settings import load_settings

# Marks the processes of a command with the path of its record, so that none is left behind when it is stopped.
MARK = "PROMPTCRAFT_HOST_COMMAND"
_SHORTEST_SECRET = 4


def read(command: Command, key: str, fingerprint: str, environ: Mapping[str, str]) -> HostLaunch:
    """The command of the plan. Raises `HostCommandError` where the file has another one, or none, by now."""
    settings = load_settings(command.root, command.stack, environ)
    request = Request(
        root=command.root,
        home=Path.home(),
        stack=command.stack,
        project=command.project,
        environment=settings.environment,
        host_commands=settings.config.allow_host_commands,
        other_tools=settings.config.other_tools,
    )
    for candidate in (*user_files(request).candidates, *other_tools(request).candidates):
        launch = candidate.launch
        if (candidate.service, candidate.key) == (command.service, key) and isinstance(launch, HostLaunch):
            if launch.fingerprint == fingerprint:
                return launch
            raise HostCommandError(
                f"{command.service}: {key} is another command, or has other variables, than when this was planned; "
                "nothing was started; look at it and deploy again"
            )
    raise HostCommandError(
        f"{command.service}: {key} is gone, or can't be used any more, since this was planned; nothing was started; "
        f"python -m discovery --stack {command.stack} --explain {command.service} says why"
    )


def environment(command: Command, environ: Mapping[str, str]) -> dict[str, str]:
    """The user's own environment, as it was before set-up and Pulumi added to it, and the mark."""
    venv, cache = command.root / ".venv", cache_of(environ)
    kept = {
        name: text
        for name, text in environ.items()
        if not name.startswith("PULUMI_") and name not in ("PROMPTCRAFT_ROOT", MARK)
    }
    if kept.get("VIRTUAL_ENV") == str(venv):
        del kept["VIRTUAL_ENV"]
    folders = environ.get("PATH", "").split(os.pathsep)
    added = {folder for folder in folders if any(Path(folder).is_relative_to(ours) for ours in (venv, cache))}
    kept["PATH"] = os.pathsep.join(folder for folder in folders if folder not in added)
    return kept | {MARK: str(command.record)}


def hidden(launch: HostLaunch) -> list[str]:
    """What no log may show, the longest first, so that a part of a secret is not replaced before the whole of it."""
    texts = {*launch.environment.values(), *_told_by(launch.arguments)}
    return sorted((text for text in texts if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)


def _told_by(arguments: tuple[str, ...]) -> Iterator[str]:
    """The values among a command's arguments: neither options nor files, without which a log says nothing."""
    for argument in arguments:
        option, _, value = argument.partition("=")
        text = value if option.startswith("-") else argument
        if text and not _is_file(text):
            yield text


def _is_file(text: str) -> bool:
    try:
        return (Path.home() / text).exists()
    except (OSError, ValueError):
        return False
