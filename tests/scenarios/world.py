"""One machine state: a home, a project, locks, servers and processes; and the run of discovery in the midst of it."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from tests.warm import WarmPython, WarmRun

from .debian import REPOSITORY, UNPACKED, binary, copy_for_everybody, library_path
from .engine import Engine
from .outcome import Outcome
from .servers import Server, Talk, await_port

Check = Callable[[Outcome], None]

_MACHINES_ENGINE = Path("/var/run/docker.sock")
# What a run may take beyond its budget before it is killed: a crowded machine starts an interpreter slowly.
_GRACE_SECONDS = 10.0


class Closeable(Protocol):
    def close(self) -> None: ...


Thing = TypeVar("Thing", bound=Closeable)


class World:
    """A machine state under construction, and the program that will look at it, from the folder `code`.

    Everything in it is gone after `close`.
    """

    def __init__(self, engine: Engine | None = None, code: Path = REPOSITORY, warm: WarmPython | None = None) -> None:
        self._engine = engine
        self._code = code
        self._warm = warm
        self.folder = Path(tempfile.mkdtemp(prefix="promptcraft-scenario-"))
        self.home = self.folder / "home"
        self.root = self.folder / "root"
        self.locks = self.folder / "locks"
        for folder in (self.home, self.root, self.locks):
            folder.mkdir()
        self.secrets: list[str] = []
        # Whether the run names `root`, so that its stack files are the operator's word; otherwise it stands in it.
        self.is_named = True
        self.checks: list[Check] = []
        self.arguments: list[str] = []
        self._mounts: list[tuple[str, str]] = []
        self._configured: dict[str, dict[str, Any]] = {}
        self._close: list[Callable[[], None]] = []
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "MCP_LOCK_DIR": str(self.locks),
        }
        if engine is not None:
            self.set(DOCKER_HOST=engine.host)
        elif _MACHINES_ENGINE.exists():
            # Its containers are nobody's business here, and a socket that is there counts as an engine.
            self.mount(Path("/dev/null"), str(_MACHINES_ENGINE))
        for pattern in ("Pulumi*.yaml", "images/references.json"):
            for source in REPOSITORY.glob(pattern):
                self.write(f"root/{source.relative_to(REPOSITORY)}", source.read_bytes())

    # --- files and environment ---

    def write(self, name: str, content: bytes | str | Mapping[str, Any] | Sequence[Any], mode: int = 0o600) -> Path:
        """A file below `home/`, `root/` or `locks/`; what is neither bytes nor text is written as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(mode)
        return path

    def set(self, **variables: str) -> None:
        """Environment variables of the run."""
        self.environment |= variables

    def unset(self, name: str) -> None:
        """Take a variable out of the run's environment."""
        del self.environment[name]

    def secret(self) -> str:
        """A new secret, which must not be printed by the run."""
        value = f"s3cret-{secrets.token_hex(8)}"
        self.secrets.append(value)
        return value

    def configure(self, key: str, value: Any, stack: str = "dev") -> None:
        """Set a key of ours in the stack's file, which then holds nothing else."""
        keys = self._configured.setdefault(stack, {})
        keys[key] = value
        lines = [f"  promptcraft-hybrid:{name}: {json.dumps(entry)}\n" for name, entry in keys.items()]
        self.write(f"root/Pulumi.{stack}.yaml", "config:\n" + "".join(lines))

    def approve(self, name: str, root: Path | None = None, **variables: str) -> None:
        """What the operator says of an entry of the project's files (in `root`), in an environment with `variables`."""
        command = [sys.executable, "-m", "discovery", "approve", name, "--root", str(root or self.root)]
        subprocess.run(command, cwd=self._code, env=self.environment | variables, check=True, capture_output=True)

    def commit(self) -> None:
        """Have the real git track every file of the project's."""
        identity = ("-c", "user.name=n", "-c", "user.email=n@example.com")
        for command in (("init", "-q"), ("add", "-f", "."), (*identity, "commit", "-q", "-m", "All")):
            subprocess.run(["git", *command], cwd=self.root, check=True, capture_output=True)

    def lock(self, service: str, port: int, pid: object, **other: object) -> Path:
        """A well-formed lock file, as someone unknown to us would write it."""
        document = {
            "service": service,
            "endpoint": f"http://127.0.0.1:{port}",
            "project": "somebody-else",
            "stack": "main",
            "pid": pid,
            "created": datetime.now(UTC).isoformat(),
        }
        return self.write(f"locks/.mcp-{service}.lock", document | other)

    # --- servers, processes, containers ---

    @property
    def engine(self) -> Engine:
        """The Docker Engine, in a scenario whose table says that it needs one."""
        assert self._engine is not None, "Table(engine=True)"
        return self._engine

    def keep(self, thing: Thing) -> Thing:
        """Close `thing` when the scenario is over."""
        self._close.append(thing.close)
        return thing

    def serve(self, talk: Talk, port: int, host: str = "127.0.0.1") -> Server:
        """A server in a thread of ours."""
        return self.keep(Server(talk, port, host))

    def process(
        self,
        *command: str | Path,
        port: int,
        host: str = "127.0.0.1",
        folder: Path | None = None,
        user: int | None = None,
        unpacked: Path = UNPACKED,
    ) -> int:
        """A process of its own, perhaps of another user, that listens on `port`; its pid, once it does.

        `unpacked` is where its package's libraries are.
        """
        environment = self.environment | {
            "LD_LIBRARY_PATH": library_path(unpacked),
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        }
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder or self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
        )

        def end() -> None:
            child.kill()
            child.wait()

        self._close.append(end)
        await_port(port, host, child)
        return child.pid

    def emulator(self, kind: str, value: str, port: int, host: str = "127.0.0.1") -> int:
        """An emulator as a process of its own; its pid."""
        command = (sys.executable, "-m", "scenarios.emulators", kind, value, "--port", str(port), "--host", host)
        return self.process(*command, port=port, host=host)

    def redis(self, port: int, *options: str, listens: int | None = None, user: int | None = None) -> int:
        """The real Redis; its pid. `listens` is where it does, with `port` 0: by TLS alone."""
        arguments = ("--port", str(port), "--save", "", *options)
        program = binary("redis-server")
        if user is None:
            return self.process(program, *arguments, port=listens or port)
        # Another user can enter neither this state's folder nor, perhaps, the project.
        folder = Path(tempfile.mkdtemp(prefix="promptcraft-everybody-"))
        self._close.append(lambda: shutil.rmtree(folder))
        folder.chmod(0o755)
        program = copy_for_everybody(program, folder)
        return self.process(program, *arguments, port=listens or port, user=user, folder=folder, unpacked=folder)

    def sentinel(self, configuration: Path, port: int) -> int:
        """The real Redis as a Sentinel; its pid."""
        return self.process(binary("redis-server"), configuration, "--sentinel", port=port)

    def prometheus(self, port: int, *options: str) -> int:
        """The real Prometheus; its pid."""
        self.write("prometheus/prometheus.yml", "global: {scrape_interval: 1m}\n")
        where = (f"--web.listen-address=127.0.0.1:{port}", "--config.file=prometheus.yml", "--storage.tsdb.path=data")
        return self.process(binary("prometheus"), *where, *options, port=port, folder=self.folder / "prometheus")

    def nginx(self, port: int) -> int:
        """The real nginx, with its status page; its pid."""
        (self.folder / "nginx").mkdir()
        configuration = (
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
            "events {}\n"
            "http { access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t;\n"
            "  uwsgi_temp_path t; scgi_temp_path t;\n"
            f"  server {{ listen 127.0.0.1:{port}; location / {{ return 200 'hello'; }}\n"
            "    location = /stub_status { stub_status; } } }\n"
        )
        path = self.write("nginx/nginx.conf", configuration)
        return self.process(binary("nginx"), "-p", path.parent, "-c", path, "-e", "stderr", port=port)

    def mount(self, file: Path, over: str) -> None:
        """Let the run see `file` at the path `over`, in a mount namespace of its own."""
        self._mounts.append((str(file), over))

    # --- what must hold besides the report ---

    def must_not_be_asked(self, server: Server) -> Server:
        """Nobody may even connect to `server`."""

        def check(_: Outcome) -> None:
            assert server.connections == 0, f"port {server.port} was asked: {server.received[:300]!r}"

        self.checks.append(check)
        return server

    def must_not_learn(self, server: Server, secret: str) -> Server:
        """`server` may be asked, but not told the secret."""

        def check(_: Outcome) -> None:
            assert secret.encode() not in server.received, f"port {server.port} was told a secret"

        self.checks.append(check)
        return server

    def must_not_exist(self, path: Path) -> None:
        """Nobody may make this file."""

        def check(_: Outcome) -> None:
            assert not path.exists(), f"{path.name} was made: something was run"

        self.checks.append(check)

    # --- the run ---

    def run(self, stack: str, budget: float, as_json: bool = True) -> Outcome:
        """Run the command line as a stranger would, and wait for it."""
        arguments = ["--json"] if as_json else []
        arguments += ["--root", str(self.root)] if self.is_named else []
        arguments += ["--stack", stack, "--budget", str(budget), *self.arguments]
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            started = time.monotonic()
            run: WarmRun | subprocess.Popen[bytes]
            if self._warm is not None and self.is_named:
                command = ["-m", "discovery", *arguments]
                run = self._warm.start(command, self.environment, stdout, stderr, self._mounts, self._code)
            else:
                run = self._start_cold(arguments, stdout, stderr)
            peak = _await(run, budget + _GRACE_SECONDS)
            seconds = time.monotonic() - started
            return Outcome(run.wait(), _text(stdout), _text(stderr), seconds, peak, budget)

    def _start_cold(self, arguments: Sequence[str], stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        # Full paths: the run's PATH may be part of the scenario.
        steps = [f"/bin/mount --bind '{file}' '{over}'" for file, over in self._mounts]
        command = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh"]
        command += [sys.executable, *(("-m", "discovery") if self.is_named else (str(self._code / "discovery"),))]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self._code if self.is_named else self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )

    def close(self) -> None:
        """End everything this state started."""
        for close in reversed(self._close):
            close()
        shutil.rmtree(self.folder)


def _await(child: WarmRun | subprocess.Popen[bytes], seconds: float) -> float:
    """The peak memory of a child in MiB, once it has ended; it is killed where it outlives `seconds`.

    Polled from its own memory map: `ru_maxrss` starts from that of whoever forked it.
    """
    deadline = time.monotonic() + seconds
    peak = 0.0
    while child.poll() is None:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{child.pid}/status").read_text().splitlines():
                # VmHWM:     43120 kB
                if line.startswith("VmHWM:"):
                    peak = max(peak, int(line.split()[1]) / 1024)
        if time.monotonic() > deadline:
            child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.03)
    return peak


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="surrogateescape")
