"""`docker run -i IMAGE …` as a server's command: the image, its arguments and variables, as a stack could run them.

A stack's own container has no mounts, no capabilities, no published port, and only the stack's network. What asks for
more is refused with what to do. Options: `docker run --help`, Docker 29; Podman and nerdctl take the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.readers.commands import Command, LaunchError, is_variable

_PROGRAMS = ("docker", "podman", "nerdctl")
_STARTS = (("run",), ("container", "run"))
# name[:tag][@digest], as the engine's reference grammar has it (distribution/reference).
_IMAGE = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_MAX_IMAGE = 300
_PROGRAM = re.compile(r"[A-Za-z0-9_./-]{1,200}")

_VARIABLE = ("-e", "--env")
_ENTRYPOINT = "--entrypoint"
# These change nothing for a container of the stack's own, which has all of that already, or its own way.
_FLAGS = frozenset(
    {"-i", "--interactive", "-t", "--tty", "--rm", "--init", "--read-only", "--no-healthcheck", "-q", "--quiet"}
    | {"--sig-proxy", "--disable-content-trust", "--replace"}
)
_VALUED = frozenset(
    {"--name", "--pull", "--platform", "-m", "--memory", "--memory-swap", "--cpus", "--cpu-shares", "--pids-limit"}
    | {"-l", "--label", "--log-driver", "--log-opt", "--restart", "-h", "--hostname", "-u", "--user", "--cap-drop"}
    | {"--tmpfs", "--stop-signal", "--stop-timeout", "--shm-size", "--ulimit", "-a", "--attach"}
)
_RIGHTS = "would give it rights over this host; take it out"
_MOUNT = (
    "mounts something of this host, which no container of the stack's does; take it out, or name its npx or uvx package"
)
_NETWORK = "asks for another network than the stack's; take it out"
_PORT = "publishes a port, which stdio does not need; take it out"
_FILE = "names a file of this host; write each variable as -e NAME"
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("--privileged", "--cap-add", "--device", "--security-opt", "--userns", "--pid"), _RIGHTS),
    **dict.fromkeys(("--ipc", "--uts", "--cgroupns", "--gpus", "--group-add", "--sysctl", "--use-api-socket"), _RIGHTS),
    **dict.fromkeys(("-v", "--volume", "--mount", "--volumes-from"), _MOUNT),
    **dict.fromkeys(("--network", "--net", "--add-host", "--dns", "--link", "--network-alias"), _NETWORK),
    **dict.fromkeys(("-p", "--publish", "-P", "--publish-all"), _PORT),
    **dict.fromkeys(("--env-file", "--label-file"), _FILE),
    **dict.fromkeys(("-d", "--detach"), "leaves nobody to speak to; take it out"),
}  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A server in an image of its own: `image` by exact tag or digest, `entrypoint` where another than the image's.

    `variables` are all that it is given, nothing expanded; `arguments` stand after the image.
    """

    image: str
    entrypoint: str | None = None
    arguments: tuple[str, ...] = field(default=(), repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def is_run(command: Command) -> bool:
    """Whether the command runs a container."""
    return command.program in _PROGRAMS and any(command.words[: len(start)] == start for start in _STARTS)


def variables_in(command: Command) -> tuple[str, ...]:
    """The variables that the command passes on from its own environment (`-e NAME`)."""
    return tuple(name for name, text in _Reading(command).options() if text is None)


def read(command: Command, variables: Mapping[str, str]) -> Container:
    """What the command (`is_run`) runs; `variables` are its own, nothing expanded. Raises `LaunchError`."""
    reading = _Reading(command)
    given = dict(reading.options())
    image, *arguments = reading.rest or [""]
    match = _IMAGE.fullmatch(image) if len(image) <= _MAX_IMAGE else None
    if match is None:
        raise LaunchError(f"runs {reading.shown} without an image one can tell; name it after the options")
    if not match["digest"] and match["tag"] in (None, ":latest"):
        name = image.removesuffix(":latest")[:60]
        raise LaunchError(f"runs the image {name} in no exact version; write {name}:TAG or @sha256:… as it was tried")
    if not reading.interactive:
        raise LaunchError(f"runs {reading.shown} without -i, so that nobody can speak to it; add -i")
    # `-e NAME` hands on what the command has itself: its entry's, or else this machine's.
    texts = {name: variables.get(name, f"${{{name}}}") if text is None else text for name, text in given.items()}
    return Container(image, reading.entrypoint, tuple(arguments), texts)


class _Reading:
    """The options before the image. Raises `LaunchError`."""

    def __init__(self, command: Command) -> None:
        start = next(start for start in _STARTS if command.words[: len(start)] == start)
        self.shown = " ".join((command.program, *start))
        self.rest = list(command.words[len(start) :])
        self.interactive = False
        self.entrypoint: str | None = None
        self._variables: list[tuple[str, str | None]] = []

    def options(self) -> list[tuple[str, str | None]]:
        """The variables by name, with None for those that are handed on; the image is then the first in `rest`."""
        while self.rest and self.rest[0].startswith("-"):
            word = self.rest.pop(0)
            if word == "--":
                break
            self._option(word)
        return self._variables

    def _option(self, word: str) -> None:
        option, separator, value = word.partition("=")
        if not option.startswith("--") and len(option) > 2:
            # -it is -i -t, and -eNAME=value is -e NAME=value
            first, more = word[:2], word[2:]
            self.rest.insert(0, f"-{more}" if first in _FLAGS else more)
            option, separator, value = first, "", ""
        if option in _REFUSED:
            raise LaunchError(f"{self.shown} {option} {_REFUSED[option]}")
        if option in _FLAGS:
            self.interactive |= option in ("-i", "--interactive") and value.lower() not in ("false", "0")
            return
        if option not in _VALUED and option not in _VARIABLE and option != _ENTRYPOINT:
            named = option if re.fullmatch(r"--?[a-z][a-z-]{0,30}", option) else "an option"
            raise LaunchError(f"runs {self.shown} with {named}, which no container of the stack's has; take it out")
        if not separator:
            if not self.rest:
                raise LaunchError(f"runs {self.shown} with {option} and nothing after it; write its value")
            value = self.rest.pop(0)
        if option in _VARIABLE:
            name, is_set, text = value.partition("=")
            if not is_variable(name):
                raise LaunchError(
                    f"runs {self.shown} with a name that no variable can have; write letters, digits and _"
                )
            self._variables.append((name, text if is_set else None))
        if option == _ENTRYPOINT:
            if _PROGRAM.fullmatch(value) is None:
                raise LaunchError(f"runs {self.shown} with an --entrypoint that is no plain program; correct it")
            self.entrypoint = value
