"""A Docker Engine: one that answers, else (as root on Debian) installed and started, else what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain import apt, progress, shell, ways
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.layout import Layout, locked, write_private

DEFAULT_HOST = "unix:///var/run/docker.sock"
PACKAGES = ("docker.io", "iptables", "iproute2")
START_SECONDS = 60.0


def reach(layout: Layout, environment: Mapping[str, str]) -> Docker:
    """An engine that answers. Raises `SetupError` with the commands to run where there is none to be had."""
    configured = environment.get("DOCKER_HOST")

    def answering() -> Docker | None:
        return _if_answering(Docker(_context_host(environment), environment))

    def rootless() -> Docker | None:
        if configured:
            raise SetupError(
                f"DOCKER_HOST is {configured}, but no engine answers there. Start it, or `unset DOCKER_HOST` to use\n"
                "this machine's own."
            )
        runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        socket = Path(runtime) / "docker.sock"
        return _if_answering(Docker(f"unix://{socket}", environment)) if socket.is_socket() else None

    def started() -> Docker | None:
        if not apt.can_install():
            raise SetupError(advice(_denied(Path(DEFAULT_HOST.removeprefix("unix://")))))
        with locked(layout.private / "engine.lock"):
            return answering() or _start(layout, environment)

    return ways.first(
        "a Docker Engine",
        (ways.Way("answering", answering), ways.Way("rootless", rootless), ways.Way("started", started)),
    ).part


def advice(denied: bool) -> str:
    """What to tell someone who has no engine and may not start one; `denied` is set where only the right is missing."""
    if denied:
        return (
            "a Docker Engine is here, but you may not use it. Run once, then log in again:\n"
            "  sudo usermod -aG docker $USER"
        )
    return (
        "no Docker Engine answers, and installing one needs root. On Debian or Ubuntu run once, then log in again:\n"
        f"  sudo apt-get update && sudo apt-get install -y {' '.join(PACKAGES)}\n"
        "  sudo systemctl enable --now docker && sudo usermod -aG docker $USER\n"
        "elsewhere: https://docs.docker.com/engine/install/"
    )


def _denied(socket: Path) -> bool:
    return socket.exists() and not os.access(socket, os.R_OK | os.W_OK)


def _if_answering(docker: Docker) -> Docker | None:
    if shutil.which("docker") is None:
        return None
    version = docker.ping()
    if version is None:
        return None
    progress.found(f"Docker Engine {version}{f' at {docker.host}' if docker.host else ''}")
    return docker


def _context_host(environment: Mapping[str, str]) -> str | None:
    """Where the chosen Docker context leads: Pulumi's provider and docker-py know DOCKER_HOST, but no contexts."""
    if environment.get("DOCKER_HOST"):
        return None
    config = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        current = json.loads(config.read_text(encoding="utf-8")).get("currentContext")
    except (OSError, ValueError, AttributeError):
        current = None
    name = environment.get("DOCKER_CONTEXT") or current
    if not name or name == "default":
        return None
    return shell.answer(["docker", "context", "inspect", name, "--format", "{{.Endpoints.docker.Host}}"]) or None


def _start(layout: Layout, environment: Mapping[str, str]) -> Docker:
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        apt.install(PACKAGES, "a Docker Engine")
        if docker := _if_answering(Docker(None, environment)):
            return docker
    with progress.step("starting the Docker Engine"):
        if Path("/run/systemd/system").is_dir():
            shell.run(["systemctl", "start", "docker"])
            return wait(Docker(None, environment), None, START_SECONDS)
        return start_daemon(layout, Docker(None, environment), ())


def start_daemon(layout: Layout, docker: Docker, options: Sequence[str]) -> Docker:
    """Start `dockerd` so that it outlives this process, and wait until `docker` reaches it.

    Its log and its process id lie in `.promptcraft/`. Raises `SetupError` with the end of the log if it ends.
    """
    layout.private.mkdir(mode=0o700, exist_ok=True)
    log = layout.private / "dockerd.log"
    # Not subprocess: that would have to wait for its child, and this one is meant to stay.
    pid = os.posix_spawnp(
        "dockerd",
        ["dockerd", *options],
        os.environ,
        file_actions=(
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ),
        setsid=True,
    )
    write_private(pid_file(layout), json.dumps({"pid": pid, "started": _started(pid)}))
    try:
        return wait(docker, pid, START_SECONDS)
    except SetupError as error:
        stop(layout)
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
        raise SetupError(f"{error}; the end of {log}:\n{tail}") from error


def wait(docker: Docker, child: int | None, seconds: float) -> Docker:
    """Wait until the engine answers. Raises `SetupError` when the process `child` ends or `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while docker.ping() is None:
        if child is not None and (ended := os.waitpid(child, os.WNOHANG)) != (0, 0):
            raise SetupError(f"dockerd ended with exit code {os.waitstatus_to_exitcode(ended[1])}")
        if time.monotonic() > deadline:
            raise SetupError(f"the Docker Engine gave no answer within {seconds:.0f} s of its start")
        time.sleep(0.2)
    return docker


def pid_file(layout: Layout) -> Path:
    """Which `dockerd` set-up started, with the time of its start, since process ids are used again."""
    return layout.private / "dockerd.pid"


def stop(layout: Layout) -> bool:
    """End the `dockerd` that set-up started; False where there is none of ours."""
    try:
        recorded = json.loads(pid_file(layout).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    pid_file(layout).unlink()
    pid = int(recorded["pid"])
    if recorded["started"] is None or _started(pid) != recorded["started"]:
        return False
    with progress.step("stopping the Docker Engine that set-up started"):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + START_SECONDS
        while _started(pid) == recorded["started"]:
            if time.monotonic() > deadline:
                raise SetupError(f"dockerd (process {pid}) does not end")
            time.sleep(0.1)
    return True


def _started(pid: int) -> str | None:
    """When the process started, in clock ticks since boot; None where it is gone, or dead and not yet reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the fields after the name are state (3rd) … starttime (22nd).
    return None if fields[0] == "Z" else fields[19]
