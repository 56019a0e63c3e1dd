"""What starts a server that comes as an image, in its container, for each connection that it makes to the runner.

START and HIDE are secret: they hold the server's variables and arguments, which so stand neither in `docker inspect`
nor in the server's log.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from catalog import CARRIER, DOOR_PATH, SOCAT, WAY_OUT_PORT
from planning.plan import FILES_PATH, SECRETS_PATH
from rendering.template import TEMPLATES, Template

CARRY = "carry.sh"
START = "start.sh"
HIDE = "hide.sed"
_CARRY = Template(TEMPLATES / "carry.sh")
# Shorter texts are no secrets, and would hide every word that has them.
_SHORTEST_HIDDEN = 4
# What sed takes for more than itself in a basic expression.
_SED = re.compile(r"[]\\[/.*^$]")
_ESCAPED = r"\\\g<0>"


def carrier_command(name: str) -> tuple[str, ...]:
    """Connects the server `name` with the runner, again and again; what follows is its program and its words."""
    return (CARRIER, "sh", f"{FILES_PATH}/{CARRY}", name)


def carry_script() -> str:
    """POSIX shell for busybox, the same for every server."""
    return _CARRY.fill(
        BUSYBOX=CARRIER,
        SOCAT=" ".join(SOCAT),
        PORT=WAY_OUT_PORT,
        DOOR=DOOR_PATH,
        START=f"{SECRETS_PATH}/{START}",
    )


def start_script(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """POSIX shell: the program in `$PROGRAM`, with `arguments` and `environment`. What it says on stderr is logged."""
    exports = [f"export {name}={shlex.quote(text)}" for name, text in sorted(environment.items())]
    words = " ".join(('"$@"', *map(shlex.quote, arguments)))
    hiding = f"{CARRIER} sed -f {SECRETS_PATH}/{HIDE} >&2"
    return (
        "\n".join(
            ('eval "set -- $PROGRAM"', "unset PROGRAM", *exports, "exec 3>&1", f"{words} 2>&1 >&3 3>&- | {hiding}")
        )
        + "\n"
    )


def hiding_script(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """sed: every argument and variable that may be secret becomes [hidden], the longest first."""
    lines = {line for text in (*arguments, *environment.values()) for line in text.splitlines()}
    hidden = sorted((line for line in lines if len(line) >= _SHORTEST_HIDDEN), key=lambda line: (-len(line), line))
    return "".join(f"s/{_SED.sub(_ESCAPED, line)}/[hidden]/g\n" for line in hidden) or "\n"
