"""Tokens of a real authorization server, through nginx by TLS: found, got, used, rotated; and a server that is gone."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.certificates import make_pair
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.journeys.authorization_server import AuthorizationServer, authorization_server, signing_key
from tests.waiting import until

pytestmark = pytest.mark.engine

HOST = "craft.example.com"
AUDIENCE = f"https://{HOST}/mcp"
PAIR = make_pair(HOST)
OWN = "own-token-0123456789"
AGENTS = "/api/agents/available"
FIRST, SECOND = signing_key("first"), signing_key("second")


@dataclass(frozen=True)
class Answer:
    """A status, headers by lower-case name, and a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def server(private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    with authorization_server(private_engine, tmp_path_factory.mktemp("oidc")) as installed:
        installed.start(FIRST)
        yield installed


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], server: AuthorizationServer) -> Project:
    project = new_project(config=config(server, ["agent__ai-engineer"]))
    PAIR.write(project.root)
    project.environment.update(GATEWAY_TOKENS=f"own:{OWN}")
    done = project.operate("up")
    assert done.code == 0, done.text
    return project


def config(server: AuthorizationServer, of_ci: list[str]) -> dict[str, object]:
    return {
        "services": ["promptcraft"],
        "replicas": 2,
        "loadBalancer": True,
        "publicHosts": [HOST],
        "tlsCertificate": "tls.pem",
        "tlsKey": "tls.key",
        "access": {"ci": of_ci, "own": ["*"]},
        "oauth": {"issuer": server.issuer, "audience": AUDIENCE, "scopes": ["mcp"]},
    }


def asked(project: Project, path: str, token: str | None = None, method: str = "GET") -> Answer:
    """nginx's answer by TLS under the public name."""

    def ask() -> Answer:
        context = ssl.create_default_context(cadata=PAIR.certificate)
        connection = http.client.HTTPSConnection(HOST, 443, context=context)
        connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", 443), 30), server_hostname=HOST)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
            connection.request(method, path, b'{"input": "x"}' if method == "POST" else None, headers)
            got = connection.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())

    return project.inside(ask)


def agents(answer: Answer) -> set[str]:
    assert answer.status == 200, answer.body
    return {one["id"] for one in answer.json()["agents"]}


def identities(project: Project) -> dict[str, str]:
    """The containers that run, by name: their ids."""
    return {str(one.name): str(one.id) for one in project.containers() if one.status == "running"}


def test_who_has_no_token_is_told_where_to_get_one_and_gets_what_access_gives(
    project: Project, server: AuthorizationServer
) -> None:
    refused = asked(project, AGENTS)
    assert refused.status == 401
    found = re.search(r'resource_metadata="https://craft\.example\.com(/[^"]+)"', refused.headers["www-authenticate"])
    assert found, refused.headers
    for path, resource in ((found[1], f"https://{HOST}"), (f"{found[1]}/mcp", AUDIENCE)):
        metadata = asked(project, path).json()
        assert metadata["resource"] == resource
        assert metadata["scopes_supported"] == ["mcp"]
    (issuer,) = metadata["authorization_servers"]
    assert issuer == server.issuer

    token = server.token("ci", metadata["resource"], "mcp")
    assert agents(asked(project, AGENTS, token)) == {"ai-engineer"}
    assert agents(asked(project, AGENTS, server.token("stranger", AUDIENCE, "mcp"))) == set()
    assert len(agents(asked(project, AGENTS, OWN))) > 1
    denied = asked(project, "/api/agents/code-reviewer/runs", token, "POST")
    assert (denied.status, denied.json()["error"]["code"]) == (403, "not_allowed")
    # It may run that one, which has no model here.
    assert asked(project, "/api/agents/ai-engineer/runs", token, "POST").status == 409


def test_a_token_for_somebody_else_or_for_too_little_is_refused(project: Project, server: AuthorizationServer) -> None:
    narrow = asked(project, AGENTS, server.token("ci", AUDIENCE, "read"))
    assert (narrow.status, narrow.json()["error"]["code"]) == (403, "insufficient_scope")
    assert 'error="insufficient_scope"' in narrow.headers["www-authenticate"]
    other = asked(project, AGENTS, server.token("ci", "https://other.example.com/mcp", "mcp"))
    assert (other.status, other.json()["error"]["code"]) == (401, "invalid_token")


def test_a_change_of_access_replaces_the_application_and_nothing_else(
    project: Project, server: AuthorizationServer
) -> None:
    token, before = server.token("ci", AUDIENCE, "mcp"), identities(project)
    project.configure("dev", config(server, ["agent__code-*", "context7__*"]))
    preview = project.operate("preview")
    assert "access.ci: context7__* matches no MCP server and no agent of this stack" in preview.text
    done = project.operate("up")
    assert done.code == 0, done.text
    after = identities(project)
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {name for name in after if "-promptcraft" in name}
    until(lambda: asked(project, AGENTS, token).status == 200)
    assert agents(asked(project, AGENTS, token)) == {"code-reviewer"}


def test_a_new_key_is_taken_at_once_and_without_the_server_nobody_new_is(
    project: Project, server: AuthorizationServer
) -> None:
    old = server.token("ci", AUDIENCE, "mcp")
    server.stop()
    server.start(SECOND)
    new = server.token("ci", AUDIENCE, "mcp")
    for _ in range(6):
        assert asked(project, AGENTS, new).status == 200
    assert asked(project, AGENTS, old).status == 401

    server.stop()
    # Keys that were heard count on.
    assert asked(project, AGENTS, new).status == 200
    for container in project.containers():
        if "-promptcraft" in str(container.name):
            container.restart()
    until(lambda: asked(project, AGENTS, OWN).status == 200)
    refused = asked(project, AGENTS, new)
    assert (refused.status, refused.json()["error"]["code"]) == (503, "issuer_unreachable")
    health = asked(project, "/api/health/detailed", OWN).json()
    assert server.issuer in health["oauth"]["problem"]
    assert health["status"] != "ok"
    server.start(SECOND)
    until(lambda: {asked(project, AGENTS, new).status for _ in range(6)} == {200}, seconds=60)
    log = b"".join(container.logs() for container in project.containers())
    for token in (old, new, OWN):
        assert token.encode() not in log
