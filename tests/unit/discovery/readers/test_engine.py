"""What the engine says is read whatever it says; no engine is told apart from one that does not say."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from catalog import LABEL_SERVICE
from discovery.probes.docker_engine import candidates, network_of, repository_of, service_of
from discovery.probes.processes import Program, container_of
from discovery.probes.processes import service_of as service_of_process
from discovery.readers.engine import containers_of, inventory, labels_by_name
from discovery.readers.engine_connection import Connection, EngineConfigError, connection
from discovery.world import Attachment, Binding, Container, EngineState, Inventory
from tests.unit.asking import JSON_VALUES, MANY, request_in

ID = "a" * 64
# As engine 20.10 lists a container (GET /containers/json), shortened.
LISTED = {
    "Id": ID,
    "Names": ["/web/alias", "/vectors"],
    "Image": "qdrant/qdrant:v1.12.4",
    "State": "running",
    "Status": "Up 3 minutes (unhealthy)",
    "Labels": {LABEL_SERVICE: "qdrant", "secret.of.somebody": "hunter2"},
    "Ports": [
        {"IP": "0.0.0.0", "PrivatePort": 6333, "PublicPort": 16333, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 6333, "PublicPort": 16333, "Type": "tcp"},
        {"PrivatePort": 6334, "Type": "tcp"},
        {"PrivatePort": 53, "Type": "udp"},
    ],
    "NetworkSettings": {"Networks": {"shop": {"IPAddress": "172.21.0.2", "Gateway": "172.21.0.1"}}},
}
QDRANT = Container(ID, "vectors", "qdrant/qdrant:v1.12.4", bindings=(Binding(6333, "127.0.0.1", 6333),))


def test_listed_container_is_read() -> None:
    (found,) = containers_of([LISTED])
    assert (found.name, found.status, found.health) == ("vectors", "running", "unhealthy")
    assert found.labels == {LABEL_SERVICE: "qdrant"}
    assert found.networks == {"shop": Attachment("172.21.0.2", "172.21.0.1")}
    assert found.bindings == (Binding(6333, "0.0.0.0", 16333), Binding(6333, "::", 16333), Binding(6334))


@MANY
@given(JSON_VALUES)
def test_any_document_is_a_list_of_containers(value: object) -> None:
    for document in (value, [value], *([{**LISTED, key: value}] for key in LISTED), [{"Id": "x", "Ports": [value]}]):
        found = containers_of(document)
        list(candidates(Inventory(EngineState.ANSWERED, found)))
        assert all(container.id for container in found)
    assert isinstance(labels_by_name([value, {"Name": "n", "Labels": value}]), dict)


@contextmanager
def engine_saying(path: Path, answer: bytes) -> Iterator[str]:
    """A socket that says `answer` to every connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65536)
                    try:
                        peer.sendall(answer)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"unix://{path}"
        server.shutdown(socket.SHUT_RDWR)


def said(body: bytes, status: int = 200, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} x\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(b"", 500), "500"),
        (said(b"", 302, "Location: http://127.0.0.1:1/\r\n"), "302"),
        (said(b"{}"), "no usable answer"),
        (said(b"[" * 100_000), "no usable answer"),
        (said(b'{"ApiVersion": "1.12"}'), "too old"),
        (said(b'{"ApiVersion": "1.41\\n[OK]"}'), "no usable answer"),
        (said(b" " * (17 * 1024 * 1024)), "more than 16 MiB"),
        (b"SSH-2.0-x\r\n", "no usable answer"),
        (b"", "no usable answer"),
    ],
)
def test_engine_that_gives_no_list_is_broken_and_says_why(tmp_path: Path, answer: bytes, reason: str) -> None:
    with engine_saying(tmp_path / "engine.sock", answer) as host:
        found = inventory(request_in(tmp_path, DOCKER_HOST=host))
    assert found.state is EngineState.BROKEN
    assert reason in found.problem


@pytest.mark.parametrize(
    "host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "ssh://host", "tcp://[", "what", "tcp://:x"]
)
def test_engine_that_is_configured_but_not_there_is_broken(tmp_path: Path, host: str) -> None:
    found = inventory(request_in(tmp_path, DOCKER_HOST=host))
    assert found.state is EngineState.BROKEN
    assert found.problem.isprintable()


def test_engine_password_in_the_address_is_not_shown(tmp_path: Path) -> None:
    found = inventory(request_in(tmp_path, DOCKER_HOST="tcp://user:hunter2@127.0.0.1:1"))
    assert "hunter2" not in found.problem


def test_a_larger_file_of_dockers_is_told_with_the_number(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    (request.home / ".docker").mkdir(parents=True)
    auths = {f"registry-{number}.example": {"auth": "x" * 1000} for number in range(5000)}
    (request.home / ".docker/config.json").write_text(json.dumps({"auths": auths}))
    assert "is larger than 4 MiB; set DOCKER_HOST" in inventory(request).problem


def test_current_context_names_the_engine(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    folder = request.home / ".docker"
    meta = folder / "contexts" / "meta" / hashlib.sha256(b"remote").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": "tcp://10.0.0.9:2376"}}}))
    (folder / "config.json").write_text(json.dumps({"currentContext": "remote"}))
    assert connection({}, request.home) == Connection("tcp://10.0.0.9:2376", True)
    assert connection({"DOCKER_HOST": "tcp://10.0.0.8:1"}, request.home) == Connection("tcp://10.0.0.8:1", True)


def test_context_that_is_not_defined_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineConfigError, match="not defined"):
        connection({"DOCKER_CONTEXT": "gone"}, tmp_path)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("redis", "redis"),
        ("redis:7.2", "redis"),
        ("docker.io/library/redis:7@sha256:" + "0" * 64, "redis"),
        ("localhost:5000/qdrant/qdrant:v1", "qdrant/qdrant"),
        ("ghcr.io/acme/redis", "acme/redis"),
        ("acme/redis-exporter:1", "acme/redis-exporter"),
        ("sha256:" + "0" * 64, "sha256"),
        ("", ""),
    ],
)
def test_repository_of_an_image(image: str, expected: str) -> None:
    assert repository_of(image) == expected


@pytest.mark.parametrize(
    ("image", "labels", "expected"),
    [
        ("qdrant/qdrant:v1", {}, "qdrant"),
        ("my/own:1", {LABEL_SERVICE: "qdrant"}, "qdrant"),
        ("qdrant/qdrant:v1", {LABEL_SERVICE: "redis"}, "redis"),
        ("my/own:1", {LABEL_SERVICE: "context7"}, "context7"),
        ("my/own:1", {LABEL_SERVICE: "../../etc"}, None),
        ("my/own:1", {"com.docker.compose.service": "redis"}, "redis"),
        ("my/own:1", {"com.docker.compose.service": "frontend"}, None),
        ("acme/redis-exporter:1", {}, None),
        ("acme/qdrant-ui", {}, None),
    ],
)
def test_service_of_a_container_is_never_a_substring(image: str, labels: dict[str, str], expected: str | None) -> None:
    assert service_of(replace(QDRANT, name="redis-qdrant-zen-mcp", image=image, labels=labels)) == expected


@pytest.mark.parametrize(
    ("container", "endpoints"),
    [
        (QDRANT, ["http://127.0.0.1:6333"]),
        (
            replace(QDRANT, bindings=(Binding(6333, "0.0.0.0", 16333), Binding(6333, "::", 16333))),
            ["http://127.0.0.1:16333"],
        ),
        (replace(QDRANT, bindings=(Binding(6333, "::", 16333),)), ["http://[::1]:16333"]),
        (replace(QDRANT, bindings=(Binding(6333, "192.168.1.5", 7000),)), ["http://192.168.1.5:7000"]),
        (
            replace(QDRANT, bindings=(Binding(6333),), networks={"a": Attachment("172.20.0.3")}),
            ["http://172.20.0.3:6333"],
        ),
        (replace(QDRANT, bindings=(), networks={"a": Attachment("172.20.0.3")}), ["http://172.20.0.3:6333"]),
        (replace(QDRANT, bindings=(), networks={"host": Attachment("")}), ["http://127.0.0.1:6333"]),
        (replace(QDRANT, bindings=(Binding(7777, "127.0.0.1", 7777),)), ["http://127.0.0.1:7777"]),
        (replace(QDRANT, bindings=(), networks={"none": Attachment("")}), []),
        (replace(QDRANT, status="exited"), []),
        (replace(QDRANT, bindings=(Binding(6333, "evil\n", 6333),)), []),
    ],
)
def test_where_a_container_is_asked(container: Container, endpoints: list[str]) -> None:
    assert [found.endpoint for found in candidates(Inventory(EngineState.ANSWERED, (container,)))] == endpoints


def test_network_to_join_is_a_named_one() -> None:
    networks = {name: Attachment("172.17.0.2") for name in ("bridge", "zeta", "alpha")}
    assert network_of(replace(QDRANT, networks=networks)) == "alpha"
    assert network_of(replace(QDRANT, networks={"bridge": Attachment("172.17.0.2")})) == "bridge"
    assert network_of(replace(QDRANT, networks={"host": Attachment("")})) is None


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (Program("redis-server"), "redis"),
        (Program("qdrant", ("./qdrant",)), "qdrant"),
        (Program("prometheus"), "prometheus"),
        (Program("grafana", ("grafana", "server")), "grafana"),
        (Program("nginx", ("nginx: master process /usr/sbin/nginx",)), "nginx"),
        (Program("redis-ser", ("redis-server *:6380",)), "redis"),
        (Program("python3", ("python3", "/opt/zen-mcp-server/server.py")), "zen-mcp"),
        (Program("python3.11", ("python3", "server.py"), "/home/me/dev/zen-mcp-server"), "zen-mcp"),
        (Program("mcp-proxy", ("mcp-proxy", "--port", "8080", "--", "pal-mcp-server")), "zen-mcp"),
        (Program("node", ("node", "/x/pal-mcp-server.js")), "zen-mcp"),
        (Program("pal-mcp-server"), "zen-mcp"),
        (Program("python3", ("python3", "-m", "http.server")), None),
        (Program("vim", ("vim", "zen-mcp-server/server.py")), None),
        (Program("redis-server-exporter"), None),
        (Program("docker-proxy", ("docker-proxy", "-host-port", "6379")), None),
        (Program("python3", ("python3", "talk-about-qdrant.py")), None),
        (Program(""), None),
    ],
)
def test_program_is_known_by_whole_names(program: Program, expected: str | None) -> None:
    assert service_of_process(program) == expected


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        (f"0::/system.slice/docker-{ID}.scope\n", ID),
        (f"12:pids:/docker/{ID}\n", ID),
        ("0::/user.slice/session-1.scope\n", None),
        ("", None),
    ],
)
def test_container_of_a_process(cgroup: str, expected: str | None) -> None:
    assert container_of(cgroup) == expected
