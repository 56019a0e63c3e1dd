"""PAL, the Zen MCP server, behind its bridge: the programs of its image, with the packages that its locks name."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from tests.builders import ROOT
from tests.waiting import until
from toolchain import content, packages
from toolchain.layout import cached_folder, layout

FOLDER = ROOT / "images" / "zen-mcp"


@dataclass(frozen=True)
class Zen:
    """One that runs. `log` has what both programs say."""

    url: str
    bridge: subprocess.Popen[bytes]
    log: Path

    @property
    def pal(self) -> psutil.Process:
        """PAL itself, which the bridge has started."""
        (child,) = psutil.Process(self.bridge.pid).children()
        return child

    def stop(self) -> int:
        """End it as an engine would; its exit code."""
        self.bridge.terminate()
        return self.bridge.wait(timeout=30)

    def kill(self) -> None:
        """End the bridge as a crash would; PAL ends with it, when its input does."""
        self.bridge.kill()
        self.bridge.wait()


def packages_of(folder: Path) -> Path:
    """A folder with what the lock in `folder` names, for this Python; made once for all tests."""
    lock, where = folder / "requirements.lock", layout()
    made = where.cache / "test-packages" / content.of_parts([lock.read_bytes(), sys.version])
    with cached_folder(made) as partial:
        if partial is not None:
            packages.install(lock, where, for_uv=("--target", partial), for_pip=("--target", partial))
    return made


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def zen_mcp(folder: Path, **environment: str) -> Iterator[Zen]:
    """Run it on a free port of the loopback, with these variables and no others, until it is well.

    `folder` takes its log and what it writes; `folder/secrets` is where its secrets are.
    """
    # As in the image: a Python with no packages of its own.
    python = Path(sys.base_prefix) / "bin" / "python3"
    command = [python, FOLDER / "bridge.py", python, FOLDER / "start_pal.py", packages_of(FOLDER / "pal")]
    port, log = free_port(), folder / "zen.log"
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(packages_of(FOLDER)),
        "TMPDIR": str(folder),
        "ZEN_MCP_SECRETS": str(folder / "secrets"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "LOG_LEVEL": "INFO",
        **environment,
    }
    with log.open("ab") as output:
        bridge = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    zen = Zen(f"http://127.0.0.1:{port}", bridge, log)

    def is_well() -> bool:
        assert bridge.poll() is None, log.read_text()
        try:
            return requests.get(f"{zen.url}/health", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    try:
        until(is_well)
        yield zen
    finally:
        zen.kill()
