"""The edge of a deployed stack: under its public name by TLS, through a broken change, a renewal and back."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.certificates import Pair, make_pair, weak_pair
from tests.engine.project import Done, Project
from tests.waiting import until

pytestmark = pytest.mark.engine

HOST = "craft.example.com"
FIRST = make_pair(HOST)
CONFIG = {
    "services": ["promptcraft"],
    "replicas": 2,
    "loadBalancer": True,
    "publicHosts": [HOST],
    "tlsCertificate": "tls.pem",
    "tlsKey": "tls.key",
}


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project(config=CONFIG)
    FIRST.write(project.root)
    return project


@dataclass(frozen=True)
class Answer:
    """A status, headers by name, and a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def served(project: Project, pair: Pair, path: str = "/health", **headers: str) -> Answer:
    """nginx's answer by TLS under the public name, which only `pair` may vouch for."""

    def ask() -> Answer:
        context = ssl.create_default_context(cadata=pair.certificate)
        connection = http.client.HTTPSConnection(HOST, 443, context=context)
        connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", 443), 30), server_hostname=HOST)
        return answer_of(connection, path, headers)

    return project.inside(ask)


def answer_of(connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str]) -> Answer:
    with contextlib.closing(connection):
        connection.request("GET", path, headers=dict(headers))
        got = connection.getresponse()
        return Answer(got.status, dict(got.getheaders()), got.read())


def identities(project: Project) -> dict[str, str]:
    """The containers that run, by name: their ids."""
    return {str(one.name): str(one.id) for one in project.containers() if one.status == "running"}


def everything(project: Project) -> set[str]:
    return {str(one.name) for one in project.containers()}


def is_listened_to() -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", 443)) == 0


@pytest.fixture
def stranger(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's server on the port for TLS."""
    process = project.inside(lambda: subprocess.Popen([sys.executable, "-m", "http.server", "443"]))
    until(lambda: project.inside(is_listened_to))
    yield process
    process.terminate()
    process.wait(30)


def test_a_taken_port_is_named_with_its_holder_before_anything_is_declared(
    project: Project, stranger: subprocess.Popen[bytes]
) -> None:
    done = project.operate("up")
    assert done.code != 0
    assert f"nginx: port 443 is held by python (pid {stranger.pid})" in done.text.replace("python3", "python")
    assert everything(project) == set()


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (Pair(FIRST.certificate, make_pair(HOST).key), "tlsKey: it does not belong to the certificate"),
        (make_pair(HOST, until=timedelta(hours=-1)), "tlsCertificate: tls.pem (CN=test) expired on 20"),
    ],
)
def test_a_pair_that_cannot_serve_is_refused_before_anything_is_declared(
    pair: Pair, expected: str, project: Project
) -> None:
    pair.write(project.root)
    for done in (project.operate("up"), project.pulumi("up", "--yes", "--skip-preview")):
        assert done.code != 0
        assert expected in done.text
    assert everything(project) == set()
    FIRST.write(project.root)


def test_the_stack_is_reached_under_its_public_name(deployed: Done, project: Project) -> None:
    assert f"https://{HOST}" in deployed.text
    answer = served(project, FIRST, "/api/health/detailed")
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "ok")
    assert answer.headers["Strict-Transport-Security"]
    # The application compares Host and Origin, so both must reach it as the browser sent them.
    assert served(project, FIRST, "/health", Origin=f"https://{HOST}").status == 200
    assert served(project, FIRST, "/health", Origin="https://evil.example.com").status == 403
    plain = project.inside(
        lambda: answer_of(http.client.HTTPConnection("127.0.0.1", 80, timeout=30), "/api/x?y", {"Host": HOST})
    )
    assert (plain.status, plain.headers["Location"]) == (308, f"https://{HOST}/api/x?y")


def test_a_second_up_and_a_refresh_change_nothing(deployed: Done, project: Project) -> None:
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    refreshed = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert refreshed.code == 0, refreshed.text


def test_the_key_is_in_no_place_but_nginx_s_own_volume(deployed: Done, project: Project) -> None:
    secret = FIRST.key.splitlines()[1]
    state = project.root.parent / "state"
    texts = {str(path): path.read_bytes() for path in state.rglob("*") if path.is_file()}
    assert any(b"nginx-check" in text for text in texts.values())
    # What the check reads is a compressed archive, in which the key has another shape: all of it is encrypted.
    exported = json.loads(project.pulumi("stack", "export").text)
    (check,) = (one for one in exported["deployment"]["resources"] if one["urn"].endswith("Command::nginx-check"))
    assert all("ciphertext" in value for value in check["inputs"]["environment"].values())
    for container in project.containers():
        container.reload()
        texts[f"inspect {container.name}"] = json.dumps(container.attrs).encode()
        if container.status == "running":
            texts[f"logs {container.name}"] = container.logs()
            for process in container.top()["Processes"]:
                for file in ("cmdline", "environ"):
                    path = Path("/proc") / process[1] / file
                    texts[f"{path} {container.name}"] = path.read_bytes()
    assert [name for name, text in texts.items() if secret.encode() in text] == []
    nginx = next(one for one in project.containers() if str(one.name).endswith("-nginx"))
    assert nginx.exec_run(["cat", "/run/promptcraft/secrets/tlsKey"]) == (0, FIRST.key.encode())


def test_what_nginx_does_not_take_replaces_nothing(deployed: Done, project: Project) -> None:
    """The key is too short for OpenSSL's taste, which only the image's own library knows."""
    before, names = identities(project), everything(project)
    weak_pair(HOST).write(project.root)
    done = project.operate("up")
    assert done.code != 0
    assert "key too small" in done.text, done.text
    assert (identities(project), everything(project)) == (before, names)
    assert served(project, FIRST).status == 200
    FIRST.write(project.root)
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    assert identities(project) == before


def test_a_renewed_certificate_replaces_nginx_alone(deployed: Done, project: Project) -> None:
    before = identities(project)
    renewed = make_pair(HOST, until=timedelta(days=20))
    renewed.write(project.root)
    done = project.operate("up")
    assert done.code == 0, done.text
    assert "tls.pem expires on 20" in done.text
    after = identities(project)
    assert {name for name in before if after[name] != before[name]} == {f"promptcraft-{project.stack}-nginx"}
    assert served(project, renewed).status == 200


def test_down_leaves_nothing(deployed: Done, project: Project) -> None:
    done = project.operate("down")
    assert done.code == 0, done.text
    assert everything(project) == set()
