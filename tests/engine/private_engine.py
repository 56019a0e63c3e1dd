"""A dockerd in a namespace of its own that tests may kill and start again, with the project's images loaded."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
from pathlib import Path

import docker
import requests

from tests.builders import ROOT
from tests.scenarios.namespace import Namespace
from tests.waiting import until


class PrivateEngine:
    """Start it with `start`; `kill` is as sudden as a power cut. `host` goes into DOCKER_HOST."""

    def __init__(self) -> None:
        # Not below pytest's folder: the path of a Unix socket is limited to 108 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="promptcraft-engine-"))
        self.namespace = Namespace()
        self.host = f"unix://{self.folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: docker.DockerClient | None = None

    def start(self) -> docker.DockerClient:
        """A client of the running engine, which keeps its data from the last time."""
        until(self._answers, seconds=90)
        return self.client

    @property
    def client(self) -> docker.DockerClient:
        """A client of the running engine."""
        assert self._client is not None, "the engine was not started"
        return self._client

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--host={self.host}"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["dockerd", *options, f"--pidfile={self.folder}/pid"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _answers(self) -> bool:
        # After a kill the first start can give up on what the last one left; the service manager's part is played here.
        if self._process is None or self._process.poll() is not None:
            (self.folder / "pid").unlink(missing_ok=True)
            self._process = self.namespace.run(self._spawn)
        with contextlib.suppress(docker.errors.DockerException, requests.ConnectionError):
            self._client = docker.DockerClient(base_url=self.host, timeout=60)
            return bool(self._client.ping())
        return False

    def load_images(self) -> None:
        """Copy the images that set-up resolved from the machine's engine."""
        document = json.loads((ROOT / ".promptcraft" / "images.json").read_text())
        references = sorted({entry["reference"] for entry in document.values()})
        with subprocess.Popen(["docker", "save", *references], stdout=subprocess.PIPE) as saved:
            subprocess.run(["docker", "-H", self.host, "load"], stdin=saved.stdout, check=True, capture_output=True)
        assert saved.returncode == 0

    def kill(self) -> None:
        """End the engine with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the engine in good order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(60)

    def close(self) -> None:
        """Remove the containers, end the engine, and take its files away."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        for container in self.client.containers.list(all=True):
            container.remove(force=True)
        self.client.close()
        self.stop()
        # The engine leaves namespaces of its own making mounted below its exec root.
        mounted = [line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in reversed([path for path in mounted if path.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", path], check=True)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.folder)], check=True)
        self.namespace.close()
