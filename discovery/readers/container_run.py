"""`docker run -i IMAGE …` as a server's command: read for the image it runs, which no stack starts.

Options with a value of their own: `docker run --help`, Docker 29; Podman and nerdctl take the same.
"""

from __future__ import annotations

import re

from discovery.readers.commands import Command

_PROGRAMS = ("docker", "podman", "nerdctl")
_STARTS = (("run",), ("container", "run"))
# A reference of an image: no word of it can be taken for anything else, and none is a secret.
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,200}(?:@sha256:[0-9a-f]{64})?", re.IGNORECASE)
_MAX_SHOWN = 60
_FLAGS = frozenset(
    {
        "-i",
        "--interactive",
        "-t",
        "--tty",
        "-d",
        "--detach",
        "--rm",
        "--init",
        "--privileged",
        "--read-only",
        "-P",
        "--publish-all",
        "--no-healthcheck",
        "-q",
        "--quiet",
        "--oom-kill-disable",
        "--sig-proxy",
        "--use-api-socket",
        "--disable-content-trust",
        "--replace",
        "--no-hosts",
    }
)


def image_of(command: Command) -> str | None:
    """The image that the command runs, as it may be shown; "" where it names none; None for another command."""
    if command.program not in _PROGRAMS:
        return None
    start = next((start for start in _STARTS if command.words[: len(start)] == start), None)
    if start is None:
        return None
    words = list(command.words[len(start) :])
    while words and words[0].startswith("-"):
        option, separator, _ = words.pop(0).partition("=")
        # -it is -i -t, and -eNAME is -e NAME
        joined = not option.startswith("--") and len(option) > 2
        if option == "--":
            break
        if not (separator or option in _FLAGS or joined):
            del words[:1]
    image = words[0] if words else ""
    return image[:_MAX_SHOWN] if _IMAGE.fullmatch(image) else ""
