"""Which Docker Engine the `docker` command would talk to on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reading import safe_files
from reading.text import one_line

_MAX_CONTEXT_FILE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Connection:
    """Where the engine should be. `configured` is False where a default socket was simply there."""

    base_url: str
    configured: bool
    tls_folder: Path | None = None


class EngineConfigError(Exception):
    """The environment or a Docker context names an engine in a way that cannot be followed."""


def connection(environment: Mapping[str, str], home: Path) -> Connection | None:
    """`DOCKER_HOST`, else the current Docker context, else a socket at its usual place; None where there is none.

    Source: Docker's documentation, "Docker contexts" and "Daemon socket option". Raises `EngineConfigError`.
    """
    if host := environment.get("DOCKER_HOST", "").strip():
        certificates = Path(environment.get("DOCKER_CERT_PATH") or home / ".docker")
        return Connection(host, True, certificates if environment.get("DOCKER_TLS_VERIFY") else None)
    folder = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    name = environment.get("DOCKER_CONTEXT") or _read_json(folder / "config.json").get("currentContext") or "default"
    if name != "default":
        return _from_context(folder, str(name))
    for path in _default_sockets(environment, home):
        if _is_socket(path):
            return Connection(f"unix://{path}", False)
    return None


def _from_context(folder: Path, name: str) -> Connection:
    """The engine of a named context: its folder is the SHA-256 of its name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    endpoints = _read_json(folder / "contexts" / "meta" / digest / "meta.json").get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    if not isinstance(host, str) or not host:
        raise EngineConfigError(
            f"the Docker context {one_line(name, 60)!r} is not defined; choose one: docker context ls"
        )
    tls = folder / "contexts" / "tls" / digest / "docker"
    return Connection(host, True, tls if tls.is_dir() else None)


def _read_json(path: Path) -> dict[str, Any]:
    """A file of Docker's own as a map; empty where it is missing or something else. Raises `EngineConfigError`."""
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > _MAX_CONTEXT_FILE:
            shown = one_line(str(path), 80)
            raise EngineConfigError(f"{shown} is larger than {safe_files.size(_MAX_CONTEXT_FILE)}; set DOCKER_HOST")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _default_sockets(environment: Mapping[str, str], home: Path) -> Iterable[Path]:
    yield Path("/var/run/docker.sock")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "docker.sock"
    yield home / ".docker" / "run" / "docker.sock"
    yield home / ".docker" / "desktop" / "docker.sock"
    yield Path(f"/run/user/{os.getuid()}/docker.sock")


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it may be there; being refused a look at it is for the connection to report
