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

from catalog import Asked, HealthCheck

# What is counted stands there: the one folder that every container may write to, and that is new at each start.
UNANSWERED = "/dev/shm/unanswered"
# Seconds that a check waits for an answer.
ANSWER_SECONDS = 2

END = "kill -9 -1"
# Never anything outside of such a container, whoever runs the command.
_IN_A_CONTAINER = 'read -r first </proc/1/comm && [ "$first" = docker-init ]'


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
            return ("CMD", "sh", "-c", ending_what_hangs(_REDIS_PING, check.misses))
        case Asked.NGINX:
            asked = f"{asks(check.port, check.path)} && {_NGINX_FIGURES}"
            return ("CMD", "bash", "-c", ending_what_hangs(asked, check.misses))
        case Asked.RELAY:
            # It listens: whether the service behind it answers is for those to say who use it.
            return ("CMD", "bash", "-c", 'exec 3<>"/dev/tcp/$RELAY_ADDRESS/$RELAY_PORT"')
        case _:
            assert_never(check.asked)


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
    return (
        f"exec 3<>/dev/tcp/127.0.0.1/{port} && "
        f"printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && "
        f"read -t {ANSWER_SECONDS} -r line <&3 && [[ $line == HTTP/1.?' 200 '* ]]"
    )


def ending_what_hangs(check: str, misses: int) -> str:
    """POSIX shell around `check`, which ends with 0 for well, and with 124 (what `timeout` says) or more for no answer.

    A check is counted before it asks, so that one which the engine breaks off has been counted.
    """
    return (
        f"if read -r misses <{UNANSWERED}; then "
        f'if [ "$misses" -ge {misses} ] && {_IN_A_CONTAINER}; then {END}; fi; '
        f"echo $((misses + 1)) >{UNANSWERED}; fi 2>/dev/null\n"
        f"( {check}\n); status=$?\n"
        f"if [ $status = 0 ] || {{ [ $status -lt 124 ] && [ -e {UNANSWERED} ]; }}; then echo 0 >{UNANSWERED}; fi\n"
        "[ $status = 0 ]"
    )


_REDIS_PASSWORD = "/run/promptcraft/secrets/redis"

# The password's file is there only where a password is configured. It goes in by stdin: in the environment, every
# process of its user could read it while the check runs. Nothing but PONG is well; `LOADING …` is an answer.
# `BUSY …` says that a script has run for 5 s and that nobody else is served until it ends, so it is ended here. One
# that has written Redis does not let go of: that is silence. Source: https://redis.io/docs/latest/commands/script-kill/
_REDIS_PING = (
    f"file={_REDIS_PASSWORD}\n"
    f'ask() {{ if [ -s $file ]; then timeout {ANSWER_SECONDS} redis-cli --askpass "$@" <$file; '
    f'else timeout {ANSWER_SECONDS} redis-cli "$@"; fi; }}\n'
    "pong=$(ask ping) || exit\n"
    "case $pong in\n"
    "PONG) ;;\n"
    "BUSY*) case $(ask script kill) in UNKILLABLE*) exit 124 ;; *) exit 1 ;; esac ;;\n"
    "*) exit 1 ;;\n"
    "esac"
)

# nginx has no figures of its own about memory and CPU time, and nothing else may look into its container. So its
# health check sums them over its processes (proc(5): utime, stime and rss) for nginx itself to serve to Prometheus.
_NGINX_FIGURES = r"""{
ticks=0 pages=0
for stat in /proc/[0-9]*/stat; do
  read -r line 2>/dev/null <"$stat" && [[ $line == *"(nginx)"* ]] || continue
  set -- ${line##*) }
  ticks=$((ticks + ${12} + ${13})) pages=$((pages + ${22}))
done
hundredths=$((ticks * 100 / $(getconf CLK_TCK)))
printf '# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %d.%02d\n' \
  $((hundredths / 100)) $((hundredths % 100)) >/tmp/process.new
printf '# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %d\n' \
  $((pages * $(getconf PAGESIZE))) >>/tmp/process.new
mv /tmp/process.new /tmp/process.prom
true
}"""
