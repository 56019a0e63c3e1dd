"""Tokens of an authorization server: which are taken, what is asked of the server, and what becomes of its absence."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.callers import caller_of_issuer, shelf_of
from gateway.issuer import Issuer, IssuerError, TokenRefused, metadata_addresses
from gateway.plan import OAuth
from gateway.tests.conftest import agents_in, gateway, plan_of, wait_until

ISSUER, AUDIENCE = "https://login.example.com/realm", "https://craft.example.com/mcp"
RSA, OTHER, SMALL = (rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 1024))
EC256, EC384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
_ALGORITHMS = jwt.algorithms.get_default_algorithms()


def jwk(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public half of a key, as it is published."""
    name = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    algorithm = next((name[kind] for kind in name if isinstance(key, kind)), "EdDSA")
    public = json.loads(_ALGORITHMS[algorithm].to_jwk(key.public_key()))
    return {**{k: v for k, v in public.items() if k != "key_ops"}, **({"kid": kid} if kid else {}), **more}


class Server:
    """An authorization server in memory: its documents by address, and what was asked of it."""

    def __init__(self, issuer: str = ISSUER, keys: list[dict[str, Any]] | None = None) -> None:
        self.keys = [jwk(RSA, "first")] if keys is None else keys
        self.issuer = issuer
        self.jwks_uri = f"{issuer}/keys"
        self.at = f"{issuer}/.well-known/openid-configuration"
        self.asked: list[str] = []
        self.fails: str | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.now = 1000.0

    async def ask(self, url: str) -> bytes | None:
        self.asked.append(url)
        await self.answering.wait()
        if self.fails:
            raise IssuerError(self.fails)
        if url == self.at:
            return json.dumps({"issuer": self.issuer, "jwks_uri": self.jwks_uri}).encode()
        return json.dumps({"keys": self.keys}).encode() if url == self.jwks_uri else None

    def known_as(self, **more: Any) -> Issuer:
        oauth = OAuth.model_validate({"issuer": ISSUER, "audience": AUDIENCE, **more})
        return Issuer(oauth, self.ask, lambda: self.now)


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + 300, "scope": "mcp read", **more}
    return {name: value for name, value in told.items() if value is not None}


def token(key: Any = RSA, alg: str = "RS256", kid: str | None = "first", /, **more: Any) -> str:
    return jwt.encode(claims(**more), key, alg, {"kid": kid} if kid else None)


def part(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def hmac_with_public_key() -> str:
    """Signed with what everybody knows, in the hope that it is taken for a secret."""
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    algorithm = _ALGORITHMS["HS256"]
    body = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims())}"
    signature = base64.urlsafe_b64encode(algorithm.sign(body.encode(), public)).rstrip(b"=").decode()
    return f"{body}.{signature}"


def resigned(header: dict[str, Any], key: rsa.RSAPrivateKey = RSA) -> str:
    """A token whose header is this, with a good signature over it."""
    body = f"{part(header)}.{part(claims())}"
    signature = _ALGORITHMS["RS256"].sign(body.encode(), key)
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def refusal(on: Issuer, given: str) -> TokenRefused:
    with pytest.raises(TokenRefused) as refused:
        await on.caller(given)
    return refused.value


async def asked(server: Server, given: str, **oauth: Any) -> Any:
    """The caller, or why there is none, of an issuer whose keys are there."""
    on = server.known_as(**oauth)
    await on.refresh()
    try:
        return await on.caller(given)
    except TokenRefused as error:
        return error


TAKEN: dict[str, Callable[[], str]] = {
    "as it is": token,
    "for several audiences": lambda: token(aud=["x", AUDIENCE]),
    "expired within the leeway": lambda: token(exp=int(time.time()) - 50),
    "valid from now on, by the issuer's clock": lambda: token(nbf=int(time.time()) + 50),
    "an access token by its type": lambda: jwt.encode(claims(), RSA, "RS256", {"kid": "first", "typ": "at+jwt"}),
    "PS256 by an RSA key": lambda: token(RSA, "PS256", "first"),
    "ES256": lambda: token(EC256, "ES256", "ec256"),
    "ES384": lambda: token(EC384, "ES384", "ec384"),
    "EdDSA": lambda: token(ED, "EdDSA", "ed"),
    "by the one key of its kind, unnamed": lambda: token(EC256, "ES256", None),
}
REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: token(exp=int(time.time()) - 70), "expired"),
    "not yet valid": (lambda: token(nbf=int(time.time()) + 70), "not valid yet"),
    "for another audience": (lambda: token(aud="https://craft.example.com/"), "another audience"),
    "for a longer audience": (lambda: token(aud=f"{AUDIENCE}/x"), "another audience"),
    "for no audience": (lambda: token(aud=None), "cannot be read"),
    "of another issuer": (lambda: token(iss=f"{ISSUER}/"), "another issuer"),
    "of no issuer": (lambda: token(iss=None), "cannot be read"),
    "for ever": (lambda: token(exp=None), "cannot be read"),
    "of nobody": (lambda: token(sub=None), "no 'sub' that could be"),
    "of a number": (lambda: jwt.encode({**claims(), "sub": 7}, RSA, "RS256", {"kid": "first"}), "cannot be read"),
    "of a reserved name": (lambda: token(sub="unnamed"), "no 'sub' that could be"),
    "of a name that is too long": (lambda: token(sub="x" * 129), "no 'sub' that could be"),
    "of an invisible name": (lambda: token(sub="anna\u202e"), "no 'sub' that could be"),
    "signed by another key of that name": (lambda: token(OTHER, "RS256", "first"), "signature is not the issuer's"),
    "signed by an unknown key": (lambda: token(OTHER, "RS256", "second"), "the issuer does not have"),
    "signed by a small key": (lambda: resigned({"alg": "RS256", "kid": "small"}, SMALL), "the issuer does not have"),
    "signed by a key to encrypt with": (lambda: token(OTHER, "RS256", "enc"), "the issuer does not have"),
    "signed by a key that is not secret": (lambda: token(OTHER, "RS256", "d"), "the issuer does not have"),
    "an algorithm that its key is not for": (
        lambda: token(OTHER, "RS256", "ps"),
        "a key that the issuer does not have",
    ),
    "a curve that its algorithm is not for": (lambda: resigned({"alg": "ES256", "kid": "ec384"}), "does not have"),
    "unnamed, by one of several": (lambda: token(RSA, "RS256", None), "the issuer does not have"),
    "unsigned": (lambda: jwt.encode(claims(), None, "none"), "alg is none of"),  # type: ignore[arg-type]
    "HS256 with the public key": (hmac_with_public_key, "alg is none of"),
    "HS256 with a shared key": (lambda: jwt.encode(claims(), "x" * 32, "HS256", {"kid": "oct"}), "alg is none of"),
    "of no algorithm": (lambda: resigned({"kid": "first"}), "alg is none of"),
    "of a list of algorithms": (lambda: resigned({"alg": ["RS256"], "kid": "first"}), "alg is none of"),
    "critical in a way not known": (lambda: resigned({"alg": "RS256", "kid": "first", "crit": ["x"]}), ""),
    "another kind of token": (
        lambda: resigned({"alg": "RS256", "typ": "logout+jwt"}),
        "no access token",
    ),
    "a key's name that is none": (lambda: resigned({"alg": "RS256", "kid": {}}), "cannot be read"),
    "changed": (lambda: token()[:-9] + "AAAAAAAAA", "signature is not the issuer's"),
    "no token": (lambda: "a.b.c", "cannot be read"),
    "nested deep": (lambda: f"{part('[' * 5000)}.e30.x", "cannot be read"),
    "oversized": (lambda: token(pad="x" * 8192), "longer than 8192"),
}
KEYS = [
    jwk(RSA, "first"),
    jwk(OTHER, "third"),
    jwk(EC256, "ec256"),
    jwk(EC384, "ec384"),
    jwk(ED, "ed"),
    jwk(SMALL, "small"),
    jwk(OTHER, "enc", use="enc"),
    jwk(OTHER, "d", d="x"),
    jwk(OTHER, "ps", alg="PS256"),
    {"kty": "oct", "kid": "oct", "k": part("x" * 32)},
    {"kty": "RSA", "kid": "broken", "n": 7},
    {"kty": ["RSA"]},
    7,
]


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_a_token_that_the_issuer_signed_for_us_is_taken(make: Callable[[], str]) -> None:
    caller = run(asked(Server(keys=KEYS), make()))  # type: ignore[arg-type]
    assert not isinstance(caller, TokenRefused), caller
    assert caller.name == "anna"


@pytest.mark.parametrize(("make", "why"), REFUSED.values(), ids=REFUSED)
def test_any_other_token_is_refused_with_the_reason(make: Callable[[], str], why: str) -> None:
    given = make()
    refused = run(asked(Server(keys=KEYS), given))  # type: ignore[arg-type]
    assert isinstance(refused, TokenRefused), refused
    assert (refused.status, refused.code, refused.error) == (401, "invalid_token", "invalid_token")
    assert why in refused.message
    assert given not in refused.message


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"scope": "mcp read"}, None),
        ({"scope": "read"}, "mcp"),
        ({"scope": "mcpx read"}, "mcp"),
        ({"scope": None}, "mcp read"),
        ({"scope": None, "scp": ["read", "mcp"]}, None),
        ({"scope": None, "scp": "mcp read"}, None),
        ({"scope": None, "scp": ["mcp read"]}, "mcp read"),
        ({"scope": {"mcp": 1, "read": 1}}, "mcp read"),
    ],
)
def test_a_token_that_lacks_a_scope_is_good_for_nothing(told: dict[str, Any], missing: str | None) -> None:
    found = run(asked(Server(), token(**told), scopes=("mcp", "read")))
    if missing is None:
        assert found.name == "anna"
    else:
        assert (found.status, found.error) == (403, "insufficient_scope")
        assert found.message == f"the token lacks the scope {missing}"


def test_a_caller_is_named_by_the_claim_and_kept_by_the_subject() -> None:
    async def names() -> None:
        on = Server().known_as(caller_claim="azp")
        await on.refresh()
        anna, bob = await on.caller(token(azp="cli")), await on.caller(token(azp="cli", sub="bob"))
        assert (anna.name, bob.name) == ("cli", "cli")
        # Two people with one client have conversations of their own, and each has them with every token.
        assert anna.key != bob.key
        assert (await on.caller(token(azp="cli", jti="another"))).key == anna.key
        assert (await on.caller(token(azp="cli", sub=None))).name == "cli"
        assert "no 'azp'" in (await refusal(on, token())).message

    run(names())


def test_callers_of_an_issuer_share_a_known_number_of_shelves() -> None:
    keys = [caller_of_issuer(ISSUER, f"user-{number}", "x").key for number in range(500)]
    assert len(set(keys)) == 500
    assert len({shelf_of(key) for key in keys}) == 16
    assert shelf_of("0123456789abcdef") == "0123456789abcdef"


def test_a_new_key_is_fetched_when_a_token_names_it_and_an_unknown_one_once_a_minute() -> None:
    async def rotate() -> None:
        server = Server()
        on = server.known_as()
        await on.refresh()
        before = len(server.asked)
        server.keys = [jwk(OTHER, "second")]
        assert (await on.caller(token(OTHER, "RS256", "second"))).name == "anna"
        once = len(server.asked) - before
        # The key that went is not taken any more, and what nobody has is not asked for again and again.
        for number in range(20):
            assert (await refusal(on, token(RSA, "RS256", f"made-up-{number}"))).status == 401
            assert (await refusal(on, token())).status == 401
        assert len(server.asked) - before == once
        server.now += 59
        await refusal(on, token())
        assert len(server.asked) - before == once
        server.now += 1
        await refusal(on, token())
        assert len(server.asked) - before == 2 * once

    run(rotate())


def test_who_has_a_known_key_does_not_wait_for_who_has_not() -> None:
    async def wait() -> None:
        server = Server()
        on = server.known_as()
        await on.refresh()
        server.answering.clear()
        before = len(server.asked)
        unknown = [asyncio.create_task(on.caller(token(OTHER, "RS256", "second"))) for _ in range(10)]
        while len(server.asked) == before:
            await asyncio.sleep(0)
        assert (await on.caller(token())).name == "anna"
        assert not any(one.done() for one in unknown)
        server.keys.append(jwk(OTHER, "second"))
        server.answering.set()
        # One asked for all.
        assert {one.name for one in await asyncio.gather(*unknown)} == {"anna"}
        assert server.asked[before:].count(server.jwks_uri) == 1

    run(wait())


def test_an_issuer_that_cannot_be_reached_lets_nobody_in_and_its_keys_count_for_an_hour() -> None:
    async def lose() -> None:
        server = Server()
        server.fails = "https://login.example.com: connection refused"
        on = server.known_as()
        assert on.problem is not None
        assert (await refusal(on, token())).status == 503
        await on.refresh()
        assert on.problem == server.fails
        refused = await refusal(on, token())
        assert (refused.status, refused.code, refused.error) == (503, "issuer_unreachable", None)

        server.fails = None
        await on.refresh()
        assert on.problem is None
        assert (await on.caller(token())).name == "anna"
        server.fails = "gone"
        server.now += 3600
        await on.refresh()
        assert on.problem == "gone"
        assert (await on.caller(token())).name == "anna"
        # What can't be known is not refused for good.
        assert (await refusal(on, token(OTHER, "RS256", "second"))).status == 503
        server.now += 1
        assert (await refusal(on, token())).status == 503

    run(lose())


def test_a_token_that_comes_while_the_first_keys_do_waits_for_them() -> None:
    async def begin() -> None:
        server = Server()
        on = server.known_as()
        server.answering.clear()
        first = asyncio.create_task(on.refresh())
        while not server.asked:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(on.caller(token()))
        await asyncio.sleep(0)
        server.answering.set()
        assert (await waiting).name == "anna"
        await first

    run(begin())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"issuer": "https://evil.example.com"}, "is of another issuer"),
        ({"issuer": f"{ISSUER}/"}, "is of another issuer"),
        ({"jwks_uri": "http://login.example.com/keys"}, "names no jwks_uri, or one that is not https"),
        ({"jwks_uri": 7}, "names no jwks_uri, or one that is not https"),
        ({"jwks_uri": "https://login.example.com/nowhere", "at_keys": None}, None),
        ({"at": "https://elsewhere.example.com"}, "has neither an oauth-authorization-server nor"),
        ({"keys": []}, "has no key that can check a signature"),
        ({"keys": 7}, "has no key that can check a signature"),
        ({"keys": [jwk(OTHER, "enc", use="enc")]}, "has no key that can check a signature"),
    ],
)
def test_an_issuer_that_does_not_say_what_it_should_is_a_problem(change: dict[str, Any], problem: str | None) -> None:
    async def look() -> None:
        server = Server()
        for name, value in change.items():
            setattr(server, name, value)
        on = server.known_as()
        await on.refresh()
        if problem is None:
            assert on.problem is None
        else:
            assert problem in str(on.problem)
            assert (await refusal(on, token())).status == 503

    run(look())


def test_an_issuer_describes_itself_at_one_of_three_addresses() -> None:
    assert list(metadata_addresses("https://a.example.com/")) == [
        "https://a.example.com/.well-known/oauth-authorization-server",
        "https://a.example.com/.well-known/openid-configuration",
    ]
    assert list(metadata_addresses("https://a.example.com/realms/x")) == [
        "https://a.example.com/.well-known/oauth-authorization-server/realms/x",
        "https://a.example.com/realms/x/.well-known/openid-configuration",
        "https://a.example.com/.well-known/openid-configuration/realms/x",
    ]


@contextmanager
def answering(answers: Callable[[str, str], tuple[int, bytes]]) -> Iterator[str]:
    """A web server whose answer to a path is what `answers` says of the server's address and the path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers(url, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", f"{url}/keys")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (500, b"{}", "answered 500"),
        (302, b"", "answered 302"),
        (200, b"[" * 100_000, "is no JSON"),
        (200, b"7", "is no JSON object"),
        (200, b" " * (256 * 1024 + 1), "answered with more than 256 KiB"),
    ],
)
def test_what_an_issuer_answers_is_bounded_and_leads_nowhere_else(status: int, body: bytes, problem: str) -> None:
    async def look(url: str) -> str | None:
        on = Issuer(OAuth(issuer=url, audience="x"))
        await on.refresh()
        return on.problem

    with answering(lambda url, path: (status, body)) as url:
        assert problem in str(run(look(url)))


def published(url: str, path: str) -> tuple[int, bytes]:
    if path == "/.well-known/oauth-authorization-server":
        return 200, json.dumps({"issuer": url, "jwks_uri": f"{url}/keys"}).encode()
    return (200, json.dumps({"keys": [jwk(RSA, "first")]}).encode()) if path == "/keys" else (404, b"")


def test_a_gateway_takes_tokens_of_its_issuer_beside_its_own_and_says_where_to_get_one(tmp_path: Path) -> None:
    from gateway.tests.test_rights import hash_of

    tokens = tmp_path / "tokens"
    tokens.write_text(f"{hash_of('own-token')} ci\n")
    access = {"ci": ["agent__opus"], "anna": ["agent__haiku"]}
    with answering(published) as url:
        oauth = {"issuer": url, "audience": AUDIENCE, "scopes": ["mcp"], "caller_claim": "sub"}
        plan = plan_of({}, agents_in(tmp_path)) | {"access": access, "oauth": oauth}
        with gateway(tmp_path, plan, PROMPTCRAFT_TOKENS_FILE=str(tokens), ENVIRONMENT="production") as running:
            health = running.api.get("/api/health/detailed")
            wait_until(lambda: running.api.get("/api/health/detailed").json()["oauth"]["problem"] is None, "the keys")
            assert health.json()["oauth"]["issuer"] == url

            def get(given: str | None, **headers: str) -> httpx2.Response:
                bearer = {"Authorization": f"Bearer {given}"} if given else {}
                return running.api.get("/api/agents/available", headers={**bearer, **headers})

            def agents(given: str) -> list[str]:
                return [one["id"] for one in get(given).json()["agents"]]

            assert agents("own-token") == ["opus"]
            assert agents(token(iss=url)) == ["haiku"]
            assert agents(token(iss=url, sub="stranger")) == []

            place = f"127.0.0.1:{running.api.base_url.port}"
            metadata = f'resource_metadata="http://{place}/.well-known/oauth-protected-resource"'
            answer = get(None)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == f'Bearer scope="mcp", {metadata}'
            answer = get(token(iss=url, exp=1))
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token")
            told = f'Bearer error="invalid_token", error_description="the token has expired", scope="mcp", {metadata}'
            assert answer.headers["WWW-Authenticate"] == told
            answer = get(token(iss=url, scope="read"))
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")
            assert answer.headers["WWW-Authenticate"].startswith('Bearer error="insufficient_scope", ')
            assert metadata in answer.headers["WWW-Authenticate"]

            # As the load balancer asks for who came by TLS.
            edge = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7", "Host": "localhost:8443"}
            assert (
                'resource_metadata="https://localhost:8443/.well-known/'
                in get(None, **edge).headers["WWW-Authenticate"]
            )
            for path, where in (("", ""), ("/mcp", "/mcp"), ("/mcp/context7", "/mcp/context7")):
                at = f"/.well-known/oauth-protected-resource{path}"
                document = running.api.get(at, headers=edge).json()
                assert document["resource"] == f"https://localhost:8443{where}"
                assert document["authorization_servers"] == [url]
                assert document["scopes_supported"] == ["mcp"]
            assert running.api.get("/.well-known/openid-configuration").status_code == 404
            # A challenge at the MCP endpoint names the metadata of that endpoint.
            challenge = running.api.post("/mcp", headers=edge).headers["WWW-Authenticate"]
            assert "/.well-known/oauth-protected-resource/mcp" in challenge
            log = running.log.read_text()
        for given in (token(iss=url), "own-token"):
            assert given[:40] not in log


def test_without_its_issuer_a_gateway_serves_its_own_tokens_and_health_says_so(tmp_path: Path) -> None:
    from gateway.tests.test_rights import hash_of

    tokens = tmp_path / "tokens"
    tokens.write_text(f"{hash_of('own-token')} ci\n")
    gone = "http://127.0.0.1:9"
    plan = plan_of({}, agents_in(tmp_path)) | {"oauth": {"issuer": gone, "audience": AUDIENCE}}
    with gateway(tmp_path, plan, PROMPTCRAFT_TOKENS_FILE=str(tokens)) as running:

        def problem() -> str:
            return str(running.api.get("/api/health/detailed").json()["oauth"]["problem"])

        wait_until(lambda: gone in problem(), "health names what cannot be reached")
        assert running.api.get("/api/health/detailed").json()["status"] == "degraded"
        refused = running.api.get("/api/runs", headers={"Authorization": f"Bearer {token(iss=gone)}"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "issuer_unreachable")
        assert int(refused.headers["Retry-After"]) > 0
        assert running.api.get("/api/runs", headers={"Authorization": "Bearer own-token"}).status_code == 200
        # Tokens of an issuer alone: nobody is anybody any more.
        assert running.api.get("/api/runs").status_code == 401


def test_with_an_issuer_alone_who_has_no_token_is_refused(tmp_path: Path) -> None:
    plan = plan_of({}, agents_in(tmp_path)) | {"oauth": {"issuer": "http://127.0.0.1:9", "audience": AUDIENCE}}
    with gateway(tmp_path, plan) as running:
        for path in ("/api/runs", "/api/agents/available", "/mcp"):
            assert running.api.get(path).status_code == 401
