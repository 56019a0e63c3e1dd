"""A Docker Engine of our own, in its own namespace: real containers on the real port numbers, and nobody's but ours.

One image under many names runs them all: it is empty, and the machine's own programs are mounted into it.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
import requests
from docker.models.containers import Container

from .debian import REPOSITORY, UNPACKED, library_path
from .namespace import Namespace
from .servers import await_port
from .unavailable import Unavailable

_START_SECONDS = 20.0
_PROGRAMS = ("/usr", "/bin", "/lib", "/lib64", "/etc", sys.base_prefix, sys.prefix, str(REPOSITORY / "tests"))


class Engine:
    """A running dockerd. Raises `Unavailable` where there is none to start."""

    def __init__(self) -> None:
        if shutil.which("dockerd") is None:
            raise Unavailable("no dockerd on this machine")
        self.namespace = Namespace()
        self.folder = Path(tempfile.mkdtemp(prefix="promptcraft-engine-"))
        self.host = f"unix://{self.folder}/docker.sock"
        self._log = (self.folder / "log").open("wb")
        self._process = self.namespace.run(self._start)
        try:
            self.client = self._connect()
        except Unavailable:
            self._stop()
            raise
        self._image = self._empty_image()

    def _start(self) -> subprocess.Popen[bytes]:
        options = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--host={self.host}"]
        options += [f"--pidfile={self.folder}/pid", "--shutdown-timeout=1"]
        return subprocess.Popen(["dockerd", *options], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    def _connect(self) -> docker.DockerClient:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(docker.errors.DockerException, requests.ConnectionError):
                client = docker.DockerClient(base_url=self.host, version="1.41")
                # It would look for proxies in the environment, which pytest changes meanwhile in another thread.
                client.api.trust_env = False
                if client.ping():
                    return client
            time.sleep(0.05)
        raise Unavailable(f"dockerd does not start: {(self.folder / 'log').read_text()[-300:]}")

    def _empty_image(self) -> str:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(_folder("tmp"))
        made: str = self.client.api.import_image_from_data(archive.getvalue(), repository="empty", tag="1")
        assert "error" not in made.lower(), made
        return "empty:1"

    def run(
        self,
        name: str,
        image: str,
        *command: str | Path,
        port: int,
        publish: int | None = None,
        on: str = "127.0.0.1",
        **other: Any,
    ) -> Container:
        """A container of that name and image reference whose command listens on `port`; returns when it does."""
        repository, _, tag = image.rpartition(":")
        self.client.images.get(self._image).tag(repository, tag)
        mounts = {p: {"bind": p, "mode": "ro"} for p in (*_PROGRAMS, str(UNPACKED)) if Path(p).exists()}
        container = self.client.containers.run(
            image,
            [str(part) for part in command],
            name=name,
            detach=True,
            volumes=mounts,
            environment={
                "LD_LIBRARY_PATH": library_path(),
                "PYTHONPATH": str(REPOSITORY / "tests"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            ports={f"{port}/tcp": (on, publish)} if publish else {},
            **other,
        )
        container.reload()
        addresses = [network["IPAddress"] for network in container.attrs["NetworkSettings"]["Networks"].values()]
        if addresses and addresses[0]:
            await_port(port, addresses[0])
        return container

    def clear(self) -> None:
        """Remove every container and network; they are all ours here."""
        for container in self.client.containers.list(all=True):
            container.remove(force=True)
        self.client.networks.prune()

    def close(self) -> None:
        """Stop the engine and take its files away."""
        self.clear()
        self.client.close()
        self._stop()

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._log.close()
        # The engine leaves the namespaces of its own making mounted below its exec root.
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            mounted = line.split(" ")[1]
            if mounted.startswith(f"{self.folder}/"):
                subprocess.run(["umount", mounted], check=False)
        shutil.rmtree(self.folder)
        self.namespace.close()


def emulator(kind: str, value: str, port: int) -> tuple[str, ...]:
    """The command of an emulator inside a container."""
    return (sys.executable, "-m", "scenarios.emulators", kind, value, "--port", str(port), "--host", "0.0.0.0")


def _folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o1777
    return info
