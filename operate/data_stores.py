"""The services of a stack that keep data, and their data volumes while they are stopped.

Files are copied by the engine's own archive calls from and to a container that mounts the volume, so it works as well
for an engine on another machine and for any image with a shell. A service is stopped in good order meanwhile: what it
had acknowledged is in its files, whole and of one moment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import docker
from docker.models.containers import Container

from catalog import (
    LABEL_OWNER,
    LABEL_PROJECT,
    LABEL_SERVICE,
    LABEL_STACK,
    LABEL_STAND_IN,
    PROJECT,
    SERVICES,
    Service,
    container_name,
    volume_name,
)
from discovery.request import Checkpoint
from errors import ConfigError
from operate.starting import StartError, start

# Seconds for a service to write everything down and end.
_STOP = 30

_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
# Each service is asked inside its own container, where no secret is needed for it.
_ASK_VERSION = {
    "redis": ["redis-server", "--version"],
    "qdrant": [
        "bash",
        "-c",
        "exec 3<>/dev/tcp/127.0.0.1/6333 && printf 'GET / HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && cat <&3",
    ],
}


class StoreError(Exception):
    """A step on a store's data failed; the text is one line that says which and why."""


@dataclass(frozen=True)
class DataStore:
    """A running service of this stack's own that keeps data. `stand_in` says what it is where not the real one."""

    service: Service
    container: Container
    version: str
    stand_in: str | None

    def stop(self) -> None:
        """Let it write everything down and end."""
        self.container.stop(timeout=_STOP)

    def start(self) -> None:
        """Start it and wait until it is healthy. Raises `StoreError`."""
        try:
            start(self.container)
        except StartError as error:
            raise StoreError(str(error)) from error


def find_stores(engine: docker.DockerClient, stack: str, checkpoint: Checkpoint) -> dict[str, DataStore]:
    """The stack's own stores by service. Raises `ConfigError` where one does not run, or nobody knows whose it is."""
    if not checkpoint.known:
        raise ConfigError(f"Pulumi.{stack}.yaml: stack: {checkpoint.problem}; mend that first")
    stores = {}
    for name, question in _ASK_VERSION.items():
        try:
            container = engine.containers.get(container_name(stack, name))
        except docker.errors.NotFound:
            continue
        if container.id not in checkpoint.ids:
            continue
        if container.status != "running":
            raise ConfigError(
                f"{name}: container {container.name} is {container.status}; run make up STACK={stack} first"
            )
        code, output = _told(container, question)
        found = _VERSION.search(_version_text(name, output)) if code == 0 else None
        if found is None:
            raise ConfigError(f"{name}: container {container.name} does not tell its version; see its logs")
        stores[name] = DataStore(SERVICES[name], container, found[0], container.labels.get(LABEL_STAND_IN) or None)
    return stores


def _told(container: Container, command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command inside a container."""
    code, output = container.exec_run(command)
    assert isinstance(output, bytes) and code is not None
    return code, output.decode(errors="replace")


def _version_text(name: str, output: str) -> str:
    # HTTP/1.0 200 OK … {"title": "qdrant - vector search engine", "version": "1.17.0"}
    if name != "qdrant" or "{" not in output:
        return output
    return str(json.loads(output[output.index("{") :]).get("version"))


# Run by sh with the data folder as $0.
_EXCHANGE = Path(__file__).with_name("restore_exchange.sh").read_text(encoding="utf-8")
_UNDO = Path(__file__).with_name("restore_undo.sh").read_text(encoding="utf-8")


@dataclass(frozen=True)
class DataFolder:
    """A store's data folder, in the hands of a container that mounts its volume and does nothing else."""

    path: str
    hands: Container

    def read(self) -> Iterator[bytes]:
        """The folder as a tar stream. Raises `StoreError` after a restore that was cut off."""
        code, _ = _told(self.hands, ["sh", "-c", 'test -e "$0/.replaced" || test -e "$0/.replaced.partial"', self.path])
        if code == 0:
            raise StoreError("a restore of it was cut off; run that again first")
        stream: Iterator[bytes]
        stream, _ = self.hands.get_archive(self.path)
        return stream

    def replace(self, tar: BinaryIO) -> None:
        """Put the folder of a tar stream in the place of this one, which is kept beside it. Raises `StoreError`."""
        self.undo()
        self._run('mkdir "$0/.restoring"')
        if not self.hands.put_archive(f"{self.path}/.restoring", tar):
            raise StoreError("the engine did not take the files")
        self._run(_EXCHANGE)

    def undo(self) -> None:
        """The data as it was before `replace`. Raises `StoreError`."""
        self._run(_UNDO)

    def settle(self) -> None:
        """Forget what `replace` kept. Raises `StoreError`."""
        self._run('rm -rf "$0/.replaced"')

    def _run(self, script: str) -> None:
        code, output = _told(self.hands, ["sh", "-c", script, self.path])
        if code != 0:
            raise StoreError(" ".join(output.split())[:300] or f"exit {code}")


@contextmanager
def data_folder(engine: docker.DockerClient, store: DataStore, stack: str, owner: str) -> Iterator[DataFolder]:
    """The store's data folder. Its user's rights are enough for it; the container is gone afterwards.

    Marked as this state's, so that the next deployment removes one that a crash left behind. Raises `StoreError`.
    """
    service, path = store.service.name, store.service.data_path
    assert path is not None, f"{service} keeps no data"
    name = container_name(stack, f"{service}-hands")
    marks = {LABEL_PROJECT: PROJECT, LABEL_STACK: stack, LABEL_OWNER: owner, LABEL_SERVICE: f"{service}-hands"}
    try:
        hands = engine.containers.create(
            store.container.attrs["Image"],
            entrypoint=["sleep", "infinity"],
            command=[],
            name=name,
            labels=marks,
            volumes={volume_name(stack, service): {"bind": path, "mode": "rw"}},
            user=store.service.user,
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit="64m",
            pids_limit=32,
        )
    except docker.errors.APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:
            raise
        raise StoreError(
            f"container {name} is there: another backup or restore runs; if none does, docker rm -f {name}"
        ) from error
    try:
        hands.start()
        yield DataFolder(path, hands)
    finally:
        hands.remove(force=True)
