"""Each protocol proves who it is; whoever only looks like it does not, and never learns a secret."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.fingerprints import grafana, mcp, nginx, prometheus, promptcraft, qdrant, redis, upstash
from discovery.fingerprints.answer import Answer, read_object, read_version
from discovery.fingerprints.redis import Conversation, judge
from discovery.fingerprints.resp import Failure, NotRespError, Reply, Simple, command, info_fields, read_replies
from discovery.report import Verdict
from discovery.request import Credential
from discovery.wire import GarbledError, RefusedError, Response
from tests.unit.asking import JSON_VALUES, MANY
from tests.unit.peers import Handler, Page, asked, page, pages, saying

KEY = "s3cret-value"
SECRET = Credential(secret=KEY)

QDRANT: Mapping[str, Page] = {
    "GET /": page({"title": "qdrant - vector search engine", "version": "1.12.4", "commit": "abc"}),
    "GET /healthz": (200, {}, "healthz check passed"),
    "GET /readyz": (200, {}, "all shards are ready"),
    "GET /collections": page({"result": {"collections": []}, "status": "ok", "time": 0.0}),
}
PROMETHEUS: Mapping[str, Page] = {
    "GET /-/healthy": (200, {}, "Prometheus Server is Healthy.\n"),
    "GET /-/ready": (200, {}, "Prometheus Server is Ready.\n"),
    "GET /api/v1/status/buildinfo": page(
        {"status": "success", "data": {"version": "2.42.0+ds", "goVersion": "go1.19"}}
    ),
}
GRAFANA: Mapping[str, Page] = {"GET /api/health": page({"database": "ok", "version": "11.1.0", "commit": "abc"})}
PROMPTCRAFT: Mapping[str, Page] = {"GET /health": page({"status": "ok", "service": "promptcraft", "version": "1.0.0"})}
NGINX_404 = "<html>\r\n<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</html>\r\n"
STUB_STATUS = "Active connections: 1 \nserver accepts handled requests\n 2 2 2 \nReading: 0 Writing: 1 Waiting: 0 \n"


def verdict(answer: Answer) -> str:
    return answer.verdict.value


# --- Qdrant ---


def ask_qdrant(site: Mapping[str, Page], credential: Credential | None = None, seen: list[str] | None = None) -> Answer:
    return asyncio.run(asked(qdrant.identify, pages(site, seen), credential=credential))


def test_qdrant_is_verified_with_its_version() -> None:
    answer = ask_qdrant(QDRANT)
    assert (answer.verdict, answer.version) == (Verdict.VERIFIED, "1.12.4")


def test_of_too_many_collections_it_is_unknown_what_there_is() -> None:
    for count, known in ((2000, 2000), (2001, None)):
        listed = {"result": {"collections": [{"name": str(number)} for number in range(count)]}}
        found = qdrant.collections_of(Response(200, (), json.dumps(listed).encode()))
        assert (found and len(found)) == known


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"GET /healthz": (404, {}, "")}, "impostor"),
        ({"GET /": page({"title": "qdrant - vector search engine"})}, "impostor"),
        ({"GET /": page({"title": "qdrant", "version": "1.12.4"})}, "impostor"),
        ({"GET /readyz": (503, {}, "some shards are not ready")}, "unhealthy"),
        ({"GET /collections": (401, {}, "")}, "auth_required"),
        ({"GET /": (302, {"Location": "http://127.0.0.1/"}, "")}, "impostor"),
        ({"GET /": (503, {}, "")}, "unhealthy"),
        ({"GET /": (401, {}, "")}, "auth_required"),
    ],
)
def test_qdrant_that_is_not_quite_one(changed: Mapping[str, Page], expected: str) -> None:
    assert verdict(ask_qdrant({**QDRANT, **changed})) == expected


def test_title_on_every_page_is_no_qdrant() -> None:
    answer = asyncio.run(asked(qdrant.identify, pages({}, missing=QDRANT["GET /"])))
    assert verdict(answer) == "impostor"


def test_qdrant_key_goes_only_to_who_has_proved_itself() -> None:
    seen: list[str] = []
    ask_qdrant({"GET /": QDRANT["GET /"], "GET /collections": (401, {}, "")}, SECRET, seen)
    assert KEY not in "".join(seen)


def test_open_qdrant_is_not_shown_the_key() -> None:
    seen: list[str] = []
    assert verdict(ask_qdrant(QDRANT, SECRET, seen)) == "verified"
    assert KEY not in "".join(seen)


@pytest.mark.parametrize(("key", "expected"), [("s3cret-value", "verified"), ("wrong", "auth_required")])
def test_qdrant_with_a_key(key: str, expected: str) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        allowed = b"api-key: s3cret-value" in head
        path = head.decode().split(" ")[1]
        status, _, body = QDRANT.get(f"GET {path}", (404, {}, ""))
        if path not in ("/", "/healthz", "/readyz") and not allowed:
            status, body = 401, "Must provide an API key"
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    answer = asyncio.run(asked(qdrant.identify, handler, credential=Credential(secret=key)))
    assert verdict(answer) == expected
    assert key not in answer.reason


@pytest.mark.parametrize("key", ["a\r\nX-Injected: b", "ключ"])
def test_key_that_no_header_can_carry_is_not_sent(key: str) -> None:
    site = {**QDRANT, "GET /collections": (401, {}, "")}
    with pytest.raises(RefusedError) as refused:
        ask_qdrant(site, Credential(secret=key))
    assert key not in str(refused.value)


# --- Prometheus, Grafana, PromptCraft, nginx ---


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "verified"),
        ({"GET /-/healthy": (200, {}, "OK")}, "impostor"),
        ({"GET /-/healthy": (404, {}, "")}, "impostor"),
        ({"GET /api/v1/status/buildinfo": (404, {}, "")}, "impostor"),
        ({"GET /api/v1/status/buildinfo": page({"status": "success", "data": {"version": 2}})}, "impostor"),
        ({"GET /-/ready": (503, {}, "")}, "unhealthy"),
        ({"GET /-/healthy": (401, {"WWW-Authenticate": "Basic"}, "")}, "auth_required"),
    ],
)
def test_prometheus(changed: Mapping[str, Page], expected: str) -> None:
    assert verdict(asyncio.run(asked(prometheus.identify, pages({**PROMETHEUS, **changed})))) == expected


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (GRAFANA, "verified"),
        ({"GET /api/health": page({"database": "failing", "version": "11.1.0", "commit": "abc"}, 503)}, "unhealthy"),
        ({"GET /api/health": page({"database": "ok"})}, "impostor"),
        ({"GET /api/health": page([])}, "impostor"),
        ({}, "impostor"),
    ],
)
def test_grafana(site: Mapping[str, Page], expected: str) -> None:
    assert verdict(asyncio.run(asked(grafana.identify, pages(site)))) == expected


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (PROMPTCRAFT, "verified"),
        ({"GET /health": page({"status": "ok", "service": "other", "version": "1.0.0"})}, "impostor"),
        ({"GET /health": page({"status": "down", "service": "promptcraft", "version": "1.0.0"}, 503)}, "unhealthy"),
        ({"GET /health": page({"status": "ok"})}, "impostor"),
    ],
)
def test_promptcraft(site: Mapping[str, Page], expected: str) -> None:
    assert verdict(asyncio.run(asked(promptcraft.identify, pages(site)))) == expected


@pytest.mark.parametrize(
    ("fingerprint", "site", "name"),
    [
        (prometheus.identify, PROMETHEUS, "GET /-/healthy"),
        (grafana.identify, GRAFANA, "GET /api/health"),
        (promptcraft.identify, PROMPTCRAFT, "GET /health"),
    ],
)
def test_whoever_says_the_same_to_everything_has_proved_nothing(
    fingerprint: Any, site: Mapping[str, Page], name: str
) -> None:
    assert verdict(asyncio.run(asked(fingerprint, pages(site, missing=site[name])))) == "impostor"


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (pages({}, missing=(404, {"Server": "nginx/1.22.1"}, NGINX_404)), "verified"),
        (pages({}, missing=(404, {"Server": "nginx"}, NGINX_404.replace("/1.22.1", ""))), "verified"),
        (
            pages(
                {"GET /stub_status": (200, {"Server": "nginx"}, STUB_STATUS)}, missing=(404, {"Server": "nginx"}, "")
            ),
            "verified",
        ),
        (
            pages({"TRACE /": (405, {"Server": "nginx"}, NGINX_404)}, missing=(200, {"Server": "nginx"}, "app")),
            "verified",
        ),
        (pages({}, missing=(404, {"Server": "nginx"}, "not found")), "impostor"),
        (pages({}, missing=(404, {"Server": "Apache"}, NGINX_404)), "impostor"),
    ],
    ids=["error page", "version hidden", "stub status", "proxy", "header only", "page only"],
)
def test_nginx(handler: Handler, expected: str) -> None:
    assert verdict(asyncio.run(asked(nginx.identify, handler))) == expected


# --- Redis ---

INFO = b"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Replication\r\nrole:master\r\n"
WORD, VERB = "promptcraft-1", "PROMPTCRAFT-2"
UNKNOWN = Failure(f"ERR unknown command '{VERB}', with args beginning with: ")
MASTER: Reply = (b"master", 0, ())
HELLO: Reply = (b"server", b"redis", b"version", b"7.2.4", b"proto", 2, b"mode", b"standalone", b"role", b"master")


def said(*replies: Reply) -> Answer:
    return judge(Conversation(WORD, VERB, replies))


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ((WORD.encode(), UNKNOWN, INFO, MASTER), "verified"),
        ((Simple("PONG"), UNKNOWN, INFO, MASTER), "impostor"),
        ((WORD.encode(), Simple("PONG"), INFO, MASTER), "impostor"),
        ((WORD.encode(), Failure("ERR unknown command 'OTHER'"), INFO, MASTER), "impostor"),
        ((WORD.encode(), UNKNOWN, b"hello", MASTER), "impostor"),
        ((WORD.encode(),), "impostor"),
        ((), "impostor"),
        ((WORD.encode(), UNKNOWN, INFO.replace(b"standalone", b"sentinel"), MASTER), "impostor"),
        ((WORD.encode(), UNKNOWN, INFO.replace(b"role:master", b"role:slave"), MASTER), "unhealthy"),
        ((WORD.encode(), UNKNOWN, INFO, (b"slave", b"h", 1, b"connected", 0)), "unhealthy"),
        ((WORD.encode(), UNKNOWN, INFO + b"loading:1\r\n", MASTER), "unhealthy"),
        ((WORD.encode(), UNKNOWN, Failure("NOPERM no"), Failure("NOPERM no")), "auth_required"),
        ((WORD.encode(), UNKNOWN, Failure("NOPERM no"), MASTER), "verified"),
        ((WORD.encode(), UNKNOWN, Failure("ERR unknown command 'INFO'"), Failure("ERR no"), HELLO), "verified"),
        (
            (WORD.encode(), UNKNOWN, Failure("ERR unknown command 'INFO'"), Failure("ERR no"), Failure("ERR")),
            "impostor",
        ),
        ((WORD.encode(), Failure(f"ERR Command is not available: '{VERB}'. See x"), INFO, MASTER), "verified"),
        ((WORD.encode(), UNKNOWN, INFO.replace(b"standalone", b"cluster"), MASTER), "unhealthy"),
        ((WORD.encode(), UNKNOWN, Failure("ERR no"), MASTER, (b"mode", b"cluster")), "unhealthy"),
        ((Failure("LOADING Redis is loading the dataset in memory"),), "unhealthy"),
        ((Failure("MASTERDOWN Link with MASTER is down"),), "unhealthy"),
        ((Failure("ERR max number of clients reached"),), "unhealthy"),
        ((Failure("NOAUTH Authentication required."), UNKNOWN), "auth_required"),
        ((Failure("DENIED Redis is running in protected mode"),), "auth_required"),
        ((Failure("ERR what"),), "impostor"),
    ],
)
def test_redis_conversation(replies: tuple[Reply, ...], expected: str) -> None:
    assert verdict(said(*replies)) == expected


@pytest.mark.parametrize(
    ("more", "title", "version"),
    [
        (b"valkey_version:8.0.1", "Valkey", "8.0.1"),
        (b"dragonfly_version:df-v1.21.2", "Dragonfly", "v1.21.2"),
        (b"mvcc_depth:0", "KeyDB", "7.0.15"),
        (b"upstash_version:1.19.0", "Upstash", "1.19.0"),
        (b"garnet_version:1.0.50", "Garnet", "1.0.50"),
        (b"kvrocks_version:2.9.0", "Kvrocks", "2.9.0"),
        (b"evil_version:1.0.0", None, "7.0.15"),
    ],
)
def test_a_fork_is_told_by_name(more: bytes, title: str | None, version: str) -> None:
    answer = said(WORD.encode(), UNKNOWN, INFO + more + b"\r\n", MASTER)
    assert (answer.title, answer.version, answer.reason) == (title, version, f"{title or 'Redis'} {version}")


def test_a_replica_names_its_master() -> None:
    info = INFO.replace(b"role:master", b"role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379")
    assert said(WORD.encode(), UNKNOWN, info, MASTER).reason.endswith("name its master, 10.0.0.1:6379")


def test_a_database_has_to_exist() -> None:
    for chosen, expected in ((Simple("OK"), "verified"), (Failure("ERR DB index is out of range"), "unhealthy")):
        replies = (WORD.encode(), UNKNOWN, INFO, MASTER, HELLO, chosen)
        assert verdict(judge(Conversation(WORD, VERB, replies, database=3))) == expected


def canned(reply: bytes) -> Handler:
    """An `nc` with a canned answer, which stays on the line."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(reply)
            await writer.drain()

    return handler


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize(
    "handler",
    [canned(b"+PONG\r\n"), canned(b"+PONG\r\n" * 8), canned(b"+OK\r\n"), echoing],
    ids=["one", "many", "ok", "echo"],
)
def test_canned_redis_is_an_impostor_soon(handler: Handler) -> None:
    assert verdict(asyncio.run(asked(redis.identify, handler, scheme="redis", seconds=2.0))) == "impostor"


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b""])
def test_what_is_not_redis_is_said_to_be_so(data: bytes) -> None:
    with pytest.raises(GarbledError):
        asyncio.run(asked(redis.identify, saying(data), scheme="redis"))


def redis_with_password(password: str, seen: list[bytes], *, knows_commands: bool = True) -> Handler:
    """A Redis as far as its first conversation goes; `knows_commands=False` says NOAUTH to what does not exist."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside = False
        while data := await reader.read(65536):
            seen.append(data)
            for words in commands_in(data):
                match words:
                    case ["AUTH", *login]:
                        inside = login[-1] == password
                        reply = "+OK\r\n" if inside else "-WRONGPASS invalid username-password pair\r\n"
                    case [verb] if verb.startswith("PROMPTCRAFT") and (knows_commands or inside):
                        reply = f"-ERR unknown command '{verb}', with args beginning with: \r\n"
                    case _ if not inside:
                        reply = "-NOAUTH Authentication required.\r\n"
                    case ["PING", word]:
                        reply = f"${len(word)}\r\n{word}\r\n"
                    case ["INFO"]:
                        reply = f"${len(INFO)}\r\n{INFO.decode()}\r\n"
                    case _:
                        reply = "*1\r\n$6\r\nmaster\r\n"
                writer.write(reply.encode())
            await writer.drain()

    return handler


def commands_in(data: bytes) -> list[list[str]]:
    return [
        re.findall(r"\$\d+\r\n([^\r]*)\r\n", part)
        for part in re.split(r"\*\d+\r\n", data.decode())
        if part.startswith("$")
    ]


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (SECRET, "verified"),
        (Credential(username="app", secret=SECRET.secret), "verified"),
        (Credential(secret="wrong"), "auth_required"),
        (None, "auth_required"),
    ],
)
def test_redis_with_a_password(credential: Credential | None, expected: str) -> None:
    handler = redis_with_password("s3cret-value", [])
    assert verdict(asyncio.run(asked(redis.identify, handler, scheme="redis", credential=credential))) == expected


def test_password_is_withheld_from_what_says_noauth_to_everything() -> None:
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.append(data)
            writer.write(b"-NOAUTH Authentication required.\r\n" * len(commands_in(data)))
            await writer.drain()

    answer = asyncio.run(asked(redis.identify, handler, scheme="redis", credential=SECRET))
    assert verdict(answer) == "auth_required"
    assert "the configured one is kept back" in answer.reason
    assert b"s3cret-value" not in b"".join(seen)


def test_a_redis_that_knows_a_wrong_login_from_none_is_told_the_password() -> None:
    seen: list[bytes] = []
    handler = redis_with_password("s3cret-value", seen, knows_commands=False)
    answer = asyncio.run(asked(redis.identify, handler, scheme="redis", credential=SECRET))
    assert verdict(answer) == "verified"


def test_a_web_server_sees_the_end_of_a_request() -> None:
    assert Conversation(WORD, VERB).questions().endswith(b"\r\n\r\n")


# --- Upstash ---


def upstash_server(token: str, seen: list[str]) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head)
        length = re.search(r"Content-Length: (\d+)", head)
        body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
        if f"Authorization: Bearer {token}" in head:
            status, document = 200, {"result": body[1]}
        else:
            status, document = 401, {"error": "WRONGPASS invalid or missing auth token"}
        text = json.dumps(document)
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    return handler


@pytest.mark.parametrize(
    ("credential", "expected"),
    [(SECRET, "verified"), (None, "auth_required"), (Credential(secret="wrong"), "auth_required")],
)
def test_upstash(credential: Credential | None, expected: str) -> None:
    seen: list[str] = []
    answer = asyncio.run(asked(upstash.identify, upstash_server("s3cret-value", seen), credential=credential))
    assert verdict(answer) == expected
    assert "Authorization" not in seen[0]


def test_upstash_token_is_withheld_from_another_401() -> None:
    seen: list[str] = []
    handler = pages({"POST /": page({"message": "log in"}, 401)}, seen)
    assert verdict(asyncio.run(asked(upstash.identify, handler, credential=SECRET))) == "auth_required"
    assert "s3cret-value" not in "".join(seen)


# --- MCP ---


def initialized(name: object = "PAL", version: object = "9.8.2", revision: str = "2025-06-18") -> dict[str, Any]:
    result = {"protocolVersion": revision, "capabilities": {}, "serverInfo": {"name": name, "version": version}}
    return {"jsonrpc": "2.0", "id": 1, "result": result}


def failed(code: int, data: object = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": "discover", "error": {"code": code, "message": "no", "data": data}}


Respond = Callable[[dict[str, Any], str], Page]


def mcp_server(respond: Respond, seen: list[str] | None = None, path: str | None = "/mcp") -> Handler:
    """An HTTP server that gives each JSON-RPC message at `path` (None: at any) to `respond(message, head)`."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if seen is not None:
            seen.append(head)
        length = re.search(r"Content-Length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        method, target, _ = head.split(" ", 2)
        answer: Page = (405, {}, "")
        if path is not None and target != path:
            answer = (404, {}, "")
        elif method == "POST":
            answer = respond(json.loads(body), head)
        status, headers, text = answer
        lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, f"Content-Length: {len(text.encode())}", "", text]).encode())
        await writer.drain()

    return handler


def legacy(message: dict[str, Any], head: str) -> Page:
    if message["method"] != "initialize":
        return page(failed(-32600), 400)
    status, headers, text = page(initialized())
    return status, {**headers, "Mcp-Session-Id": "abc123"}, text


def legacy_stream(message: dict[str, Any], head: str) -> Page:
    if message["method"] != "initialize":
        return 400, {}, "Bad Request: Missing session ID"
    return 200, {"Content-Type": "text/event-stream"}, f"event: message\ndata: {json.dumps(initialized())}\n\n"


def modern(message: dict[str, Any], head: str) -> Page:
    if message["method"] != "server/discover":
        return page(failed(-32601), 404)
    result = {
        "supportedVersions": ["2026-07-28"],
        "capabilities": {},
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "PAL", "version": "9.8.2"}},
    }
    return page({"jsonrpc": "2.0", "id": "discover", "result": result})


def newer(message: dict[str, Any], head: str) -> Page:
    asked_in = message["params"].get("_meta", {}).get("io.modelcontextprotocol/protocolVersion")
    if asked_in != "2027-01-01" or "MCP-Protocol-Version: 2027-01-01" not in head:
        return page(failed(-32022, {"supported": ["2027-01-01"], "requested": asked_in}), 400)
    return modern(message, head)


def dual(message: dict[str, Any], head: str) -> Page:
    if message["method"] == "initialize":
        return page(initialized())
    return page(failed(-32022, {"supported": ["2025-06-18"]}), 400)


def nameless(message: dict[str, Any], head: str) -> Page:
    return page(failed(-32601), 404)


@pytest.mark.parametrize("respond", [legacy, legacy_stream, modern, newer, dual])
def test_mcp_server_of_each_form_says_its_name(respond: Respond) -> None:
    answer = asyncio.run(asked(mcp.identify, mcp_server(respond)))
    assert (answer.verdict, answer.identity, answer.version) == (Verdict.VERIFIED, "PAL", "9.8.2")


@pytest.mark.parametrize("path", ["/mcp/", "/"])
def test_mcp_server_is_found_where_servers_commonly_are(path: str) -> None:
    assert asyncio.run(asked(mcp.identify, mcp_server(legacy, path=path))).identity == "PAL"


def test_given_path_is_asked_and_no_other() -> None:
    seen: list[str] = []
    handler = mcp_server(legacy, seen, path="/mcp")
    assert verdict(asyncio.run(asked(mcp.identify, handler, path="/servers/zen/mcp"))) == "impostor"
    assert not [head for head in seen if head.startswith("POST /mcp ")]


def test_mcp_session_is_ended() -> None:
    seen: list[str] = []
    asyncio.run(asked(mcp.identify, mcp_server(legacy, seen)))
    (ended,) = [head for head in seen if head.startswith("DELETE ")]
    assert "Mcp-Session-Id: abc123" in ended


def test_mcp_server_without_a_name_is_nobody() -> None:
    assert verdict(asyncio.run(asked(mcp.identify, mcp_server(nameless)))) == "impostor"
    handler = mcp_server(lambda message, head: page(initialized(name=None)))
    assert verdict(asyncio.run(asked(mcp.identify, handler))) == "impostor"


@pytest.mark.parametrize("status", [200, 404, 405, 500, 302])
def test_any_other_web_server_is_an_impostor(status: int) -> None:
    handler = pages({}, missing=(status, {"Content-Type": "application/json"}, '{"status": "ok"}'))
    assert verdict(asyncio.run(asked(mcp.identify, handler))) == "impostor"


UNAUTHORIZED = (401, {"WWW-Authenticate": "Bearer"}, "")


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        (421, "unhealthy", r"answers 421 at /mcp: it does not serve as 127.0.0.1:\d+; let it take that name"),
        (404, "auth_required", "wants a bearer token at /sse before it says who it is"),
    ],
)
def test_what_mcp_says_counts_before_what_its_stream_does(status: int, expected: str, reason: str) -> None:
    handler = pages({"GET /sse": UNAUTHORIZED}, missing=(status, {}, ""))
    answer = asyncio.run(asked(mcp.identify, handler))
    assert verdict(answer) == expected
    assert re.fullmatch(reason, answer.reason)


def test_token_is_withheld_until_the_server_has_proved_itself() -> None:
    seen: list[str] = []
    handler = pages({}, seen, missing=(401, {"WWW-Authenticate": "Bearer"}, ""))
    answer = asyncio.run(asked(mcp.identify, handler, credential=SECRET))
    assert verdict(answer) == "auth_required"
    assert "s3cret-value" not in "".join(seen)


def sse_server(endpoint: str) -> Handler:
    """The 2024-11-05 transport: a stream, and a place for messages whose answers come over the stream."""
    waiting: list[asyncio.StreamWriter] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("GET /sse "):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            writer.write(f"event: endpoint\ndata: {endpoint}\n\n".encode())
            await writer.drain()
            waiting.append(writer)
            await reader.read(1)
            return
        if not head.startswith("POST /messages/?session_id=1 "):
            writer.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 202 x\r\nContent-Length: 0\r\n\r\n")
        waiting[0].write(f"event: message\ndata: {json.dumps(initialized())}\n\n".encode())
        await waiting[0].drain()

    return handler


@pytest.mark.parametrize("path", ["", "/sse"])
def test_mcp_over_an_event_stream_says_its_name(path: str) -> None:
    answer = asyncio.run(asked(mcp.identify, sse_server("/messages/?session_id=1"), path=path))
    assert (answer.verdict, answer.identity) == (Verdict.VERIFIED, "PAL")


def test_event_stream_cannot_send_us_to_another_host() -> None:
    answer = asyncio.run(asked(mcp.identify, sse_server("http://evil.example/messages"), path="/sse"))
    assert verdict(answer) == "impostor"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("/messages/?session_id=1", "/messages/?session_id=1"),
        ("messages", "/messages"),
        ("//evil.example/x", None),
        ("http://evil.example/x", None),
        ("file:///etc/passwd", None),
        ("/a b", None),
        ("/a\r\nX: y", None),
        ("http://[", None),
    ],
)
def test_message_address(data: str, expected: str | None) -> None:
    assert mcp.message_address("/sse", data) == expected


@pytest.mark.parametrize(
    ("name", "service", "identities", "expected"),
    [
        ("PAL", "zen-mcp", ("pal", "zen"), True),
        ("pal ", "zen-mcp", ("pal",), True),
        ("palace", "zen-mcp", ("pal",), False),
        ("Context7", "context7", (), True),
        ("context7-mcp-server", "context7", (), True),
        ("Context7 MCP", "context7-mcp", (), True),
        ("context7-evil", "context7", (), False),
        ("mcp-server", "mcp", (), False),
        ("", "context7", (), False),
        ("anything", "context7", ("anything",), True),
        ("context7", "context7", ("anything",), False),
    ],
)
def test_which_mcp_server_it_is(name: str, service: str, identities: tuple[str, ...], expected: bool) -> None:
    assert mcp.is_same_server(name, service, identities) is expected


# --- any bytes at all ---

BODIES = st.binary(max_size=300) | JSON_VALUES.map(lambda value: json.dumps(value).encode())
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "server", "location", "mcp-session-id"]),
        st.sampled_from(["text/event-stream", "application/json", "nginx/1.2.3"]) | st.text(max_size=20),
    ),
    max_size=3,
)
RESPONSES = st.builds(Response, st.sampled_from([200, 302, 401, 404, 503]) | st.integers(100, 999), HEADERS, BODIES)


@MANY
@given(RESPONSES)
def test_any_response_is_read_without_a_crash(response: Response) -> None:
    assert qdrant.version_of(response) is None or response.status == 200
    assert prometheus.version_of(response) is None or response.status == 200
    told = grafana.database_of(response)
    assert told is None or all(isinstance(part, str) for part in told)
    assert promptcraft.health_of(response) is None or b"promptcraft" in response.body
    assert nginx.server_of(response)[0] in (True, False)
    assert not (nginx.is_stub_status(response) and nginx.is_error_page(response))
    assert upstash.turns_away(response) in (True, False)
    assert not upstash.echoes(response, "a word nobody says")
    for message in mcp.messages_in(response):
        introduced, rejected = mcp.introduction_in(message), mcp.rejection_in(message)
        assert introduced is None or isinstance(introduced.name, str)
        assert rejected is None or isinstance(rejected.code, int)


@MANY
@given(st.fixed_dictionaries({"jsonrpc": st.just("2.0")}, optional={"result": JSON_VALUES, "error": JSON_VALUES}))
def test_any_message_is_read_without_a_crash(message: dict[str, Any]) -> None:
    introduced, rejected = mcp.introduction_in(message), mcp.rejection_in(message)
    assert introduced is None or (isinstance(introduced.name, str) and introduced.revision)
    assert rejected is None or isinstance(rejected.supported, tuple)


@MANY
@given(st.text(max_size=40), st.text(max_size=60))
def test_any_message_address_is_on_the_same_host(path: str, data: str) -> None:
    address = mcp.message_address(f"/{path}", data)
    assert address is None or address.startswith("/")


@MANY
@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b"*2\r\n", b"$3\r\n", b"abc\r\n", b"-ERR x\r\n", b":7\r\n"])).map(b"".join)
)
def test_any_bytes_are_replies_or_not_resp(data: bytes) -> None:
    try:
        replies = read_replies(data, 4)
    except NotRespError:
        return
    assert len(replies) <= 4
    assert said(*replies).verdict in Verdict


@MANY
@given(st.binary(max_size=300))
def test_any_info_is_fields(data: bytes) -> None:
    assert all(isinstance(value, str) for value in info_fields(data).values())


@MANY
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=5))
def test_command_comes_back_as_the_list_of_its_words(words: list[str]) -> None:
    assert read_replies(command(*words), 1) == (tuple(word.encode() for word in words),)


@pytest.mark.parametrize(
    "data", [b"*1\r\n" * 5000, b"$99999999\r\n", b"*99999\r\n", b":" + b"9" * 5000 + b"\r\n", b"[" * 60_000]
)
def test_hostile_resp_is_turned_down(data: bytes) -> None:
    with pytest.raises(NotRespError):
        read_replies(data, 4)


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 10_000, b"9" * 60_000, b"\xff\xfe", b"NaN"])
def test_hostile_json_is_empty(body: bytes) -> None:
    assert read_object(body) == {}


@pytest.mark.parametrize(("value", "expected"), [("1.12.4", "1.12.4"), ("2.42.0+ds", "2.42.0+ds"), ("v1.0", "v1.0")])
def test_versions(value: str, expected: str) -> None:
    assert read_version(value) == expected


@pytest.mark.parametrize(
    "value", ["", "latest", "1", "1.2\n[OK]", "1.2.3" + "x" * 60, 1.2, None, ["1.2.3"], "1.2 \x1b[2J"]
)
def test_what_is_no_version(value: object) -> None:
    assert read_version(value) is None


def test_a_flood_of_events_is_looked_at_once_and_an_answer_is_seen_whichever_way_it_is_cut() -> None:
    watch, body = mcp._AnswerWatch(), b""
    for _ in range(3):
        body += b"data: {}\r\n\r\n"
        assert not watch(body)
    for piece in (b'data: {"jsonrpc": "2.0",', b' "id": 1, "result": {}}\n'):
        body += piece
        assert not watch(body)
    assert watch(body + b"\n")


@pytest.mark.parametrize(
    ("status", "body", "names"),
    [
        (200, b'{"result": {"collections": [{"name": "notes"}, {"name": "docs"}]}}', ("docs", "notes")),
        (200, b'{"result": {"collections": []}}', ()),
        (200, b'{"result": {"collections": [{"name": 3}, "x", {"name": "a"}]}}', ("a",)),
        # Cut off at the reader's limit, or nobody's list: what is there is unknown, not nothing.
        (200, b'{"result": {"collections": [{"name": "no', None),
        (200, b'{"result": []}', None),
        (404, b'{"result": {"collections": []}}', None),
    ],
)
def test_what_qdrant_holds_is_its_collections(status: int, body: bytes, names: tuple[str, ...] | None) -> None:
    assert qdrant.collections_of(Response(status, body=body)) == names
