"""Who may ask, how long that may take, and that nothing of a secret comes out again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from http.client import HTTPResponse
from pathlib import Path

import pytest
from httpx2 import Client
from starlette.types import Message, Receive, Scope, Send

from gateway.access import BearerTokens
from gateway.callers import Caller, Callers
from gateway.rights import Access
from gateway.tests.conftest import agents_in, counting_mcp, gateway, plan_of, service

TOKEN, KEY = "tok-open-sesame-4c1f", "key-of-the-server-9b2e"


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_every_hash_is_compared_and_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(given: str, known: str) -> bool:
        compared.append(known)
        return given == known

    monkeypatch.setattr(hmac, "compare_digest", compare)
    hashes = frozenset(hash_of(token) for token in ("first", "second", "third"))
    passed = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["path"])

    async def nothing() -> Message:
        raise AssertionError("nobody reads a body here")

    async def ask(token: str) -> None:
        async def send(message: Message) -> None:
            pass

        headers = [(b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "method": "GET", "path": f"/{token}", "headers": headers}
        callers = Callers({one: Caller(one[:16], "unnamed") for one in hashes})
        await BearerTokens(app, callers, Access(), None)(scope, nothing, send)

    for token in ("first", "third", "neither"):
        compared.clear()
        asyncio.run(ask(token))
        assert set(compared) == hashes
        assert len(compared) == len(hashes)
    assert passed == ["/first", "/third"]


def test_no_token_and_no_key_is_in_an_answer_a_log_or_a_label(tmp_path: Path) -> None:
    tokens, credential = tmp_path / "tokens", tmp_path / "zen-mcp"
    tokens.write_text(hash_of(TOKEN))
    credential.write_text(KEY)
    with counting_mcp(tmp_path) as (url, _):
        plan = plan_of({"zen-mcp": service("mcp", url, credential=str(credential))}, agents_in(tmp_path))
        settings = {"PROMPTCRAFT_TOKENS_FILE": str(tokens), "LOG_LEVEL": "DEBUG"}
        with gateway(tmp_path, plan, **settings) as running:
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            body = {"input": "hello"}
            asked = [
                running.api.post("/api/agents/opus/runs", json=body, headers=bearer),
                running.api.post("/api/agents/opus/runs", json={"input": "FAIL"}, headers=bearer),
                running.api.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}x"}),
                running.api.get("/api/runs", headers={"Authorization": f"Basic {TOKEN}"}),
                running.api.get("/api/runs", params={"token": TOKEN}),
                running.api.get(f"/{TOKEN}", headers=bearer),
                running.api.post("/api/agents/opus/runs", json={"input": "x", "session": f"{TOKEN}!"}, headers=bearer),
                running.api.post("/api/agents/opus/runs", content=TOKEN, headers=bearer),
                running.api.get("/api/mcp/servers", headers=bearer),
                running.api.get("/api/health/detailed"),
                running.api.get("/api/discovery/status", headers=bearer),
                running.api.get("/metrics"),
            ]
            statuses = [answer.status_code for answer in asked]
            told = "".join(answer.text + json.dumps(dict(answer.headers)) for answer in asked)
        told += running.log.read_text()
    assert statuses == [200, 200, 401, 401, 401, 404, 422, 422, 200, 200, 200, 200]
    for secret in (TOKEN, KEY, hash_of(TOKEN)):
        assert secret not in told


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    with gateway(tmp_path, plan_of({}, agents_in(tmp_path)), PROMPTCRAFT_BODY_SECONDS="0.5") as running:
        url = running.api.base_url
        head = b"POST /api/agents/opus/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection((url.host, url.port), timeout=60) as caller:
            caller.sendall(head + b"Content-Length: 15\r\n\r\n{")
            answer = HTTPResponse(caller)
            answer.begin()
            assert answer.status == 408
            assert json.load(answer)["error"]["code"] == "too_slow"
        assert running.api.get("/health").status_code == 200


WORLD = {"X-Forwarded-For": "203.0.113.7"}


def test_the_world_is_told_the_status_and_who_has_a_token_all(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(hash_of(TOKEN))
    with gateway(tmp_path, plan_of({}, agents_in(tmp_path)), PROMPTCRAFT_TOKENS_FILE=str(tokens)) as running:
        for client in (running.api, running.page):

            def told(headers: dict[str, str], client: Client = client) -> set[str]:
                return set(client.get("/api/health/detailed", headers=headers).json())

            assert told(WORLD) == told({**WORLD, "Authorization": "Bearer nobody"}) == {"status"}
            all_of_it = told({**WORLD, "Authorization": f"Bearer {TOKEN}"})
            assert {"status", "services", "limits"} <= all_of_it
            # This host's own scripts, and the engine, ask without a proxy.
            assert told({}) == all_of_it
            assert client.get("/api/discovery/status", headers=WORLD).status_code == 401


def test_where_nobody_has_a_token_the_world_sees_a_workshop_and_nothing_of_production(tmp_path: Path) -> None:
    for environment, status, parts in (("development", 200, 8), ("production", 401, 1)):
        plan = plan_of({}, agents_in(tmp_path))
        with gateway(tmp_path, plan, name=environment, ENVIRONMENT=environment) as running:
            health = running.api.get("/api/health/detailed", headers=WORLD).json()
            assert (len(health) >= parts, set(health) == {"status"}) == (True, parts == 1)
            for path in ("/api/discovery/status", "/api/agents/available", "/api/events?once"):
                with running.api.stream("GET", path, headers=WORLD) as answer:
                    assert answer.status_code == status
