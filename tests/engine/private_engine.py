"""A dockerd in a namespace of its own that tests may kill and start again, with the project's images loaded."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

import docker
import psutil
import requests

from tests.builders import ROOT
from tests.scenarios.namespace import Namespace
from tests.waiting import until
from toolchain.layout import cached_folder, layout


class PrivateEngine:
    """Start it with `start`; `kill` is as sudden as a power cut. `host` goes into DOCKER_HOST.

    `options` are dockerd's, beside those that keep it apart from every other.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
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

    @property
    def bridge(self) -> str:
        """The host's own address on the engine's default bridge."""
        config = self.client.networks.get("bridge").attrs["IPAM"]["Config"][0]
        return str(config.get("Gateway") or next(ip_network(config["Subnet"]).hosts()))

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--host={self.host}"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["dockerd", *options, *self._options, f"--pidfile={self.folder}/pid"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
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

    def prepare(self) -> None:
        """Before the start: have the images that set-up resolved, without loading them again.

        Loading takes a minute, so it is done once into a data root that is kept in the cache. An engine never writes
        into an image's layers, so those are linked; everything else is copied.
        """
        images = _resolved_images()
        kept = layout().cache / "test-engines"
        kept.mkdir(parents=True, exist_ok=True)
        with cached_folder(kept / _key(images)) as empty:
            if empty is not None:
                _forget_unused(kept)
                _fill(empty, sorted(images))
        (kept / _key(images)).touch()
        data = self.folder / "data"
        data.mkdir()
        for entry in (kept / _key(images) / "data").iterdir():
            how = "-al" if entry.name in {"overlay2", "vfs"} and _same_disk(entry, data) else "-a"
            subprocess.run(["cp", how, str(entry), str(data)], check=True)

    def kill(self) -> None:
        """End the engine with SIGKILL, and the port proxies that it had no time to bind to its own life."""
        assert self._process is not None
        proxies = [child for child in psutil.Process(self._process.pid).children() if child.name() == "docker-proxy"]
        self._end(signal.SIGKILL)
        for proxy in proxies:
            with contextlib.suppress(psutil.NoSuchProcess):
                proxy.kill()

    def stop(self) -> None:
        """End the engine in good order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(60)

    def stop_for_good(self) -> None:
        """End the engine and unmount what it leaves mounted; its files stay."""
        self.client.close()
        self.stop()
        # The engine leaves namespaces of its own making mounted below its exec root.
        mounted = [line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in reversed([path for path in mounted if path.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", path], check=True)

    def close(self) -> None:
        """Remove the containers, end the engine, and take its files away."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        for container in self.client.containers.list(all=True):
            container.remove(force=True)
        self.stop_for_good()
        self.close_files()

    def close_files(self) -> None:
        """Take away what an ended engine leaves, and what a killed one lost track of."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("containerd-shim") and f"{self.folder}/" in " ".join(process.cmdline()):
                    process.kill()
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.folder)], check=True)
        self.namespace.close()


def _resolved_images() -> dict[str, str]:
    """The identifier of each image that set-up resolved, by reference."""
    document = json.loads((ROOT / ".promptcraft" / "images.json").read_text())
    references = sorted({entry["reference"] for entry in document.values()})
    inspected = subprocess.run(["docker", "image", "inspect", *references], check=True, capture_output=True)
    return dict(zip(references, (image["Id"] for image in json.loads(inspected.stdout)), strict=True))


def _key(images: Mapping[str, str]) -> str:
    version = subprocess.run(["dockerd", "--version"], check=True, capture_output=True, text=True).stdout
    return hashlib.sha256(json.dumps([version, images], sort_keys=True).encode()).hexdigest()[:16]


def _forget_unused(kept: Path) -> None:
    """Remove what no run of the last day used; a younger one may be in another run's hands."""
    for data in kept.glob("*/data"):
        if data.parent.stat().st_mtime < time.time() - 24 * 3600:
            subprocess.run(["rm", "-rf", "--one-file-system", str(data.parent)], check=True)


def _fill(folder: Path, references: Sequence[str]) -> None:
    """Leave in `folder`/data the data root of an engine that holds `references`."""
    private = PrivateEngine()
    private.start()
    with subprocess.Popen(["docker", "save", *references], stdout=subprocess.PIPE) as saved:
        subprocess.run(["docker", "-H", private.host, "load"], stdin=saved.stdout, check=True, capture_output=True)
    assert saved.returncode == 0
    private.stop_for_good()
    shutil.move(private.folder / "data", folder / "data")
    private.close_files()


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
