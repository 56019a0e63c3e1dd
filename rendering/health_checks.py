"""The commands by which a container says that it is well, and by which what hangs in it is ended.

A container's health changes nothing by itself: the engine starts again what has ended, not what has stopped answering.
So a check that got no answer too many times in a row kills every process of its container but the first, which is
the engine's own init (`init` in components/workload.py); that one ends with its child, and the engine's restart policy
does the rest. Only silence counts. Whoever refuses a connection, or answers that it is loading, starting or stopping,
does not hang; and nobody is ended who has not been well since the container's start.
"""

from __future__ import annotations

import hashlib
from typing import assert_never

from catalog import CARRIER, Asked, HealthCheck
from planning.plan import SECRETS_PATH
from rendering.template import TEMPLATES, Template

# What is counted stands there: the one folder that every container may write to, and that is new at each start.
UNANSWERED = "/dev/shm/unanswered"
# Seconds that a check waits for an answer.
ANSWER_SECONDS = 2

END = "kill -9 -1"

# The labels of running containers hold a digest of these texts (`health_digest`): another text replaces them all.
_FOLDER = TEMPLATES / "health"
_ASK = Template(_FOLDER / "ask.bash")
_END_WHAT_HANGS = Template(_FOLDER / "end_what_hangs.sh")
_REDIS = Template(_FOLDER / "redis.sh").fill(PASSWORD=f"{SECRETS_PATH}/redis", ANSWER_SECONDS=ANSWER_SECONDS)
_NGINX_FIGURES = Template(_FOLDER / "nginx_figures.bash").fill()


def health_command(check: HealthCheck) -> tuple[str, ...]:
    """The command that the engine runs inside the container, in the form of `docker inspect`."""
    match check.asked:
        case Asked.BASH:
            asked = asks(check.port, check.path)
            both = f"{asked} && {asks(*check.also)}" if check.also else asked
            return ("CMD", "bash", "-c", ending_what_hangs(both, check.misses))
        case Asked.WGET:
            url = f"http://127.0.0.1:{check.port}{check.path}"
            asked = f"timeout {ANSWER_SECONDS} wget -q -O /dev/null {url}"
            return ("CMD", "sh", "-c", ending_what_hangs(asked, check.misses))
        case Asked.REDIS:
            return ("CMD", "sh", "-c", ending_what_hangs(_REDIS, check.misses))
        case Asked.NGINX:
            asked = f"{asks(check.port, check.path)} && {_NGINX_FIGURES}"
            return ("CMD", "bash", "-c", ending_what_hangs(asked, check.misses))
        case Asked.RELAY:
            # It listens: whether the service behind it answers is for those to say who use it.
            return ("CMD", "bash", "-c", 'exec 3<>"/dev/tcp/$RELAY_ADDRESS/$RELAY_PORT"')
        case Asked.CARRIER:
            return ("CMD", CARRIER, *_listens(check.port))
        case Asked.LISTENS:
            return ("CMD", *_listens(check.port))
        case _:
            assert_never(check.asked)


def _listens(port: int) -> tuple[str, ...]:
    # 0A is LISTEN (include/net/tcp_states.h); a server in IPv4 or IPv6 stands in one of the two.
    return ("grep", "-q", f":{port:04X} [0-9A-F]*:0000 0A", "/proc/net/tcp", "/proc/net/tcp6")


def health_digest(check: HealthCheck) -> str:
    """12 hexadecimal digits that change with the check."""
    # The text is what the labels of running containers were made from: another one would replace them all.
    text = (
        f"HealthCheck(command={health_command(check)!r}, interval={check.interval}, timeout={check.timeout}, "
        f"retries={check.retries}, start_period={check.start_period})"
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def asks(port: int, path: str) -> str:
    """Bash that ends with 0 for an answer of 200, with 1 for another or a refusal, and above 128 for none."""
    return _ASK.fill(PORT=port, PATH=path, ANSWER_SECONDS=ANSWER_SECONDS)


def ending_what_hangs(check: str, misses: int) -> str:
    """POSIX shell around `check`, which is shell too.

    `check` ends with 0 for well, and with 124 (what `timeout` says) or more for no answer.
    """
    return _END_WHAT_HANGS.fill(CHECK=check, MISSES=misses, UNANSWERED=UNANSWERED, END=END)
