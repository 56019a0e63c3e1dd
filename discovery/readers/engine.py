"""What the Docker Engine says runs: read once, over the connection that the `docker` command would use.

No engine is not the same as an engine that does not answer. The first means that no container runs; after the second
nobody knows, and whoever judges by the inventory has to be told so.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from discovery.readers.engine_connection import Connection, EngineConfigError, connection
from discovery.request import Request
from discovery.world import Attachment, Binding, Container, EngineState, Inventory
from reading.addresses import plain_address
from reading.text import one_line

# Per read, in seconds; the wall-clock limit is the caller's, who abandons the thread.
_READ_TIMEOUT = 2
# Label keys that are read: foreign ones can be many and long, and hold secrets.
_LABEL_PREFIXES = ("ai.promptcraft.", "com.docker.compose.", "com.docker.swarm.")
_MAX_CONTAINERS = 5000
_MAX_BODY = 16 * 1024 * 1024  # bytes; a container takes about 2 KiB
_OLDEST_API = (1, 24)
_API_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,4})")


class _StatusError(ValueError):
    """The engine answered, but not with what was asked for; the message completes "the engine …"."""


def inventory(request: Request) -> Inventory:
    """All containers, networks and volumes of the engine; `BROKEN` with a `problem` where it cannot say."""
    try:
        # Not as `.env` says, which may have come with the project.
        found = connection(request.machine_environment, request.home)
    except EngineConfigError as error:
        return Inventory(EngineState.BROKEN, problem=str(error))
    if found is None:
        return Inventory(EngineState.ABSENT)
    return _ask(found)


def _ask(found: Connection) -> Inventory:
    try:
        url = urlsplit(found.base_url)
        if url.scheme not in ("unix", "tcp", "http", "https"):
            return _broken(found, "is behind a kind of connection that is not looked at")
        spoken = _api_version(_get(found, url, "/version"))
        if spoken < _OLDEST_API:
            return _broken(found, f"speaks API {_dotted(spoken)}, which is too old; {_dotted(_OLDEST_API)} is needed")
        version = f"/v{_dotted(spoken)}"
        containers = _get(found, url, f"{version}/containers/json?all=1")
        networks = _get(found, url, f"{version}/networks")
        volumes = _get(found, url, f"{version}/volumes")
        if isinstance(containers, list) and len(containers) > _MAX_CONTAINERS:
            # What is left out could be this stack's own.
            raise _StatusError(f"lists {len(containers)} containers, more than the {_MAX_CONTAINERS} that are read")
        host = "127.0.0.1" if url.scheme == "unix" or not url.hostname else url.hostname
    except (http.client.HTTPException, OSError, ValueError) as error:
        return _broken(found, _reason(error))
    address = plain_address(host)
    return Inventory(
        EngineState.ANSWERED,
        containers_of(containers),
        labels_by_name(networks),
        labels_by_name(volumes.get("Volumes") if isinstance(volumes, dict) else None),
        host=host,
        local=host == "localhost" or (address is not None and address.is_loopback),
    )


def _get(found: Connection, url: SplitResult, path: str) -> Any:
    """One answer of the engine as JSON. Raises `HTTPException`, `OSError` or `ValueError`.

    Not by docker-py: it follows redirects and proxies, reads whatever it is sent, and takes longer to load than the
    whole look to run.
    """
    connection = _connect(found, url)
    try:
        connection.request("GET", path, headers={"Host": "docker", "Accept-Encoding": "identity"})
        response = connection.getresponse()
        if response.status != 200:
            raise _StatusError(f"answers {response.status}")
        body = response.read(_MAX_BODY + 1)
    finally:
        connection.close()
    if len(body) > _MAX_BODY:
        raise _StatusError(f"answers with more than {_MAX_BODY // 1024**2} MiB")
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_READ_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_READ_TIMEOUT)
        self.sock.connect(self._path)


def _connect(found: Connection, url: SplitResult) -> http.client.HTTPConnection:
    if url.scheme == "unix":
        return _UnixConnection(url.path)
    host, secure = url.hostname or "", url.scheme == "https" or found.tls_folder is not None
    if secure:
        context = _tls(found.tls_folder)
        return http.client.HTTPSConnection(host, url.port or 2376, timeout=_READ_TIMEOUT, context=context)
    return http.client.HTTPConnection(host, url.port or 2375, timeout=_READ_TIMEOUT)


def _api_version(document: object) -> tuple[int, int]:
    spoken = document.get("ApiVersion") if isinstance(document, dict) else None
    match = _API_VERSION.fullmatch(spoken) if isinstance(spoken, str) else None
    if match is None:
        raise ValueError("no ApiVersion")
    return int(match[1]), int(match[2])


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _broken(found: Connection, why: str) -> Inventory:
    shown = one_line(found.base_url.rpartition("@")[2], 80)
    return Inventory(
        EngineState.BROKEN,
        problem=f"the Docker Engine at {shown} {why}; what runs in containers is unknown; start it or mend DOCKER_HOST",
    )


def _reason(error: Exception) -> str:
    match error:
        case _StatusError():
            return str(error)
        case PermissionError():
            return "refuses us (permission denied)"
        case FileNotFoundError():
            return "is not there (no such socket)"
        case ConnectionRefusedError():
            return "refuses the connection"
        case TimeoutError():
            return "does not answer in time"
        case socket.gaierror():
            return "has a name that does not resolve"
        case _:
            return f"gives no usable answer ({error.__class__.__name__})"


def containers_of(document: object) -> tuple[Container, ...]:
    """The containers in the engine's list (`GET /containers/json`), sorted by name. Total: what is odd is left out."""
    entries = document[:_MAX_CONTAINERS] if isinstance(document, list) else []
    found = (_container(entry) for entry in entries if isinstance(entry, dict))
    return tuple(sorted((item for item in found if item is not None), key=lambda item: (item.name, item.id)))


def labels_by_name(document: object) -> dict[str, dict[str, str]]:
    """Name and labels of each network or volume in the engine's list. Total."""
    entries = document if isinstance(document, list) else []
    named = (entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("Name"), str))
    return {entry["Name"]: _labels(entry.get("Labels")) for entry in named}


def _container(entry: Mapping[str, Any]) -> Container | None:
    identifier = entry.get("Id")
    if not isinstance(identifier, str) or not identifier:
        return None
    names = _strings(entry.get("Names"))
    settings = entry.get("NetworkSettings")
    networks = settings.get("Networks") if isinstance(settings, dict) else None
    status = _text(entry.get("Status"))
    return Container(
        id=identifier,
        # A link adds names with a second slash; the container's own has one.
        name=min(names, key=lambda name: (name.count("/"), name), default=identifier[:12]).lstrip("/"),
        image=_text(entry.get("Image")),
        labels=_labels(entry.get("Labels")),
        status=_text(entry.get("State")),
        health=next((word for word in ("unhealthy", "healthy") if f"({word})" in status), ""),
        networks={
            str(name): Attachment(
                _text(place.get("IPAddress")),
                _text(place.get("Gateway")),
                _text(place.get("GlobalIPv6Address")),
                _text(place.get("NetworkID")),
            )
            for name, place in (networks.items() if isinstance(networks, dict) else ())
            if isinstance(place, dict)
        },
        bindings=_bindings(entry.get("Ports")),
    )


def _bindings(document: object) -> tuple[Binding, ...]:
    found = set()
    for entry in document if isinstance(document, list) else []:
        if not isinstance(entry, dict) or entry.get("Type", "tcp") != "tcp" or not _is_port(entry.get("PrivatePort")):
            continue
        public = entry.get("PublicPort")
        if _is_port(public):
            found.add(Binding(entry["PrivatePort"], _text(entry.get("IP")) or "0.0.0.0", public))
        else:
            found.add(Binding(entry["PrivatePort"]))
    return tuple(sorted(found, key=lambda item: (item.container_port, item.host_port or 0, item.host_ip or "")))


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _labels(document: object) -> dict[str, str]:
    items = document.items() if isinstance(document, dict) else ()
    return {key: _text(value) for key, value in items if isinstance(key, str) and key.startswith(_LABEL_PREFIXES)}


def _tls(folder: Path | None) -> ssl.SSLContext:
    """Verification by the folder's `ca.pem` where it has one, with its client certificate."""
    if folder is None:
        return ssl.create_default_context()
    authority = folder / "ca.pem"
    context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
    if (folder / "cert.pem").exists():
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
