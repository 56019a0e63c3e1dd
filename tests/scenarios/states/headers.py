"""Whose headers are sent where: the user's own or approved, to that very address, once it shows that it speaks MCP."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..emulators import legacy_mcp, legacy_route
from ..namespace import another_host
from ..scenario import PROJECT, USER, Table, lists, says, selects, selects_nothing
from ..servers import HttpRequest, Reply, Server, Talk, http
from ..tls import certificate
from ..world import World

scenario = Table()

_ELSEWHERE = "10.9.8.7"
_METADATA = "/.well-known/oauth-protected-resource"
_UNAUTHORIZED = {"jsonrpc": "2.0", "error": {"code": -32001, "message": "Unauthorized"}, "id": None}


def _guarded(
    value: str,
    refusal: Callable[[HttpRequest], Reply],
    header: str = "Authorization",
    pages: Mapping[str, Reply] | None = None,
) -> Talk:
    """An MCP server that answers who brings the header, and `refusal` to everybody else."""
    route = legacy_route("docs")

    def guarded(request: HttpRequest) -> Reply | None:
        if pages and request.path in pages:
            return pages[request.path]
        return route(request) if request.headers.get(header.lower()) == value else refusal(request)

    return http(guarded)


def _json_rpc(_: HttpRequest) -> Reply:
    return Reply(_UNAUTHORIZED, 401)


def _plain(_: HttpRequest) -> Reply:
    return Reply({"message": "Forbidden"}, 403)


def _metadata(port: int, path: str = "/mcp", **more: object) -> Mapping[str, object]:
    return {"resource": f"http://127.0.0.1:{port}{path}", "authorization_servers": ["https://login.example"], **more}


def _mine(world: World, url: str, **headers: str) -> None:
    world.write("home/.claude.json", {"mcpServers": {"docs": {"type": "http", "url": url, "headers": headers}}})


@scenario("headers of the user's own are sent after an error of JSON-RPC", selects("docs", 7000, USER))
def _(world: World) -> None:
    secret = world.secret()
    world.serve(_guarded(f"Bearer {secret}", _json_rpc), 7000)
    _mine(world, "http://127.0.0.1:7000/mcp", Authorization=f"Bearer {secret}")


@scenario("variables of this machine are taken into headers", selects("docs", 7000, USER))
def _(world: World) -> None:
    world.set(DOCS_KEY=world.secret())
    world.serve(_guarded(world.secrets[0], _json_rpc, "X-API-Key"), 7000)
    _mine(world, "http://127.0.0.1:7000/mcp", **{"X-API-Key": "${DOCS_KEY}"})


@scenario("a bridge's --header is one of the user's too", selects("docs", 7000, USER))
def _(world: World) -> None:
    secret = world.secret()
    world.serve(_guarded(f"Bearer {secret}", _json_rpc), 7000)
    words = ["-y", "mcp-remote", "http://127.0.0.1:7000/mcp", "--header", "Authorization:${AUTH}"]
    bridge = {"command": "npx", "args": words, "env": {"AUTH": f"Bearer {secret}"}}
    world.write("home/.claude.json", {"mcpServers": {"docs": bridge}})


for _place, _challenge in ((f"{_METADATA}/mcp", ""), (_METADATA, ""), ("/where/it/says", "/where/it/says")):

    @scenario(
        f"headers are sent after the metadata of that very resource at {_place}{_challenge and ' by challenge'}",
        selects("docs", 7000, USER),
    )
    def _(world: World, place: str = _place, challenge: str = _challenge) -> None:
        secret = world.secret()
        named = f', resource_metadata="http://localhost:7000{challenge}"' if challenge else ""
        refusal = Reply({"error": "invalid_token"}, 401, {"WWW-Authenticate": f'Bearer error="invalid_token"{named}'})
        pages = {place: Reply(_metadata(7000))}
        world.serve(_guarded(f"Bearer {secret}", lambda _: refusal, pages=pages), 7000)
        _mine(world, "http://127.0.0.1:7000/mcp", Authorization=f"Bearer {secret}")


def _kept_back(world: World, refusal: Callable[[HttpRequest], Reply], pages: Mapping[str, Reply] | None = None) -> None:
    secret = world.secret()
    world.must_not_learn(world.serve(_guarded(f"Bearer {secret}", refusal, pages=pages), 7000), secret)
    _mine(world, "http://127.0.0.1:7000/mcp", Authorization=f"Bearer {secret}")


@scenario(
    "what shows nothing of MCP learns no header in the clear",
    lists("docs", 7000, "auth_required", USER, reason="kept back, as nothing shows that it speaks MCP"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    _kept_back(world, _plain)


@scenario("a certificate for the host of the entry is enough", selects("docs", 7443, USER))
def _(world: World) -> None:
    secret = world.secret()
    context = certificate(world.folder, "localhost")
    world.keep(Server(_guarded(f"Bearer {secret}", _plain), 7443, tls=context))
    world.set(SSL_CERT_FILE=f"{world.folder}/cert.pem")
    _mine(world, "https://localhost:7443/mcp", Authorization=f"Bearer {secret}")


@scenario("a certificate that nobody signed is not", selects_nothing("docs"))
def _(world: World) -> None:
    secret = world.secret()
    talk = _guarded(f"Bearer {secret}", _plain)
    world.must_not_learn(world.keep(Server(talk, 7443, tls=certificate(world.folder, "localhost"))), secret)
    _mine(world, "https://localhost:7443/mcp", Authorization=f"Bearer {secret}")


@scenario(
    "another resource's metadata shows nothing",
    lists("docs", 7000, "auth_required", USER, reason="kept back"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    pages = {_METADATA: Reply(_metadata(7001)), f"{_METADATA}/mcp": Reply(_metadata(7000, "/other"))}
    refusal = Reply("", 401, {"WWW-Authenticate": 'Bearer resource_metadata="http://127.0.0.1:7009/m"'})
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7009))
    _kept_back(world, lambda _: refusal, pages)


@scenario(
    "headers do not follow a redirect",
    lists("docs", 7000, "impostor", USER, reason="redirect"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7009))
    _kept_back(world, lambda _: Reply("", 307, {"Location": "http://127.0.0.1:7009/mcp"}))


@scenario(
    "headers go to no other path of the host",
    lists("docs", 7000, "auth_required", USER, reason="refused the headers of its entry"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    secret = world.secret()
    told: list[str] = []

    def refusal(request: HttpRequest) -> Reply:
        if secret in request.headers.get("authorization", ""):
            told.append(request.path)
        return _json_rpc(request)

    world.serve(_guarded("never", refusal), 7000)
    _mine(world, "http://127.0.0.1:7000/tenant/mcp", Authorization=f"Bearer {secret}")
    world.checks.append(lambda _: _only(told, {"/tenant/mcp", "/tenant/mcp/"}))


def _only(told: list[str], expected: set[str]) -> None:
    assert set(told) <= expected and told, f"told at {told}"


@scenario(
    "headers are not sent in the clear beyond the loopback",
    says("its headers are sent over https or to the loopback only"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    secret = world.secret()
    world.must_not_learn(world.serve(_guarded(f"Bearer {secret}", _json_rpc), 7000, _ELSEWHERE), secret)
    _mine(world, f"http://{_ELSEWHERE}:7000/mcp", Authorization=f"Bearer {secret}")


@scenario(
    "a project's headers wait for approval, though its loopback is asked",
    lists("docs", 7000, "auth_required", PROJECT, reason="its headers wait for approval: python -m discovery approve"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    secret = world.secret()
    world.must_not_learn(world.serve(_guarded(secret, _json_rpc), 7000), secret)
    entry = {"type": "http", "url": "http://127.0.0.1:7000/mcp", "headers": {"Authorization": secret}}
    world.write("root/.mcp.json", {"mcpServers": {"docs": entry}})


def _project(world: World) -> None:
    world.set(DOCS_TOKEN=world.secret())
    world.serve(_guarded(f"Bearer {world.secrets[0]}", _json_rpc), 7000)
    headers = {"Authorization": "Bearer ${DOCS_TOKEN}"}
    entry = {"type": "http", "url": "http://127.0.0.1:7000/mcp", "headers": headers}
    world.write("root/.mcp.json", {"mcpServers": {"docs": entry}})


@scenario("a project's headers are sent once the operator approves them", selects("docs", 7000, PROJECT))
def _(world: World) -> None:
    _project(world)
    world.approve("docs")


@scenario(
    "approved by its name, a project's header is given the variables that are named for it, and no other",
    lists("docs", 7000, "auth_required", PROJECT, reason="its headers need more: needs DOCS_TOKEN"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    _project(world)
    world.configure("mcpServers", ["docs"])


@scenario("a variable that mcpVariables names goes into a project's header", selects("docs", 7000, PROJECT))
def _(world: World) -> None:
    _project(world)
    world.configure("mcpServers", ["docs"])
    world.configure("mcpVariables", {"docs": ["DOCS_TOKEN"]})


@scenario(
    "two entries at one address are asked each with its own headers",
    lists("docs", 7000, "verified", USER),
    lists("notes", 7000, "auth_required", USER, reason="refused the headers"),
)
def _(world: World) -> None:
    right, wrong = world.secret(), world.secret()
    world.serve(_guarded(right, _json_rpc), 7000)
    servers = {
        name: {"type": "http", "url": "http://127.0.0.1:7000/mcp", "headers": {"Authorization": value}}
        for name, value in (("docs", right), ("notes", wrong))
    }
    world.write("home/.claude.json", {"mcpServers": servers})


@scenario(
    "a command for headers and a login in a browser are told with what to do",
    lists("docs", 7000, "auth_required", USER, reason="its headersHelper is a command, which is never run here"),
    lists("notes", 7000, "auth_required", USER, reason="logs in by OAuth in a browser; give its entry a token"),
    lists("plain", 7000, "auth_required", USER, reason="give its entry a key in headers"),
)
def _(world: World) -> None:
    world.serve(_guarded("never", _json_rpc), 7000)
    proof = world.folder / "was-run"
    world.must_not_exist(proof)
    entry = {"type": "http", "url": "http://127.0.0.1:7000/mcp"}
    helper = {**entry, "headersHelper": f"touch {proof}"}
    oauth = {**entry, "oauth": {"clientId": "me"}}
    world.write("home/.claude.json", {"mcpServers": {"docs": helper, "notes": oauth, "plain": entry}})


@scenario(
    "a header that would break the request is not sent, and told",
    says("header Host is none that an entry can set"),
    says("header X-Key has no value that HTTP can carry"),
    selects_nothing("docs", "notes"),
)
def _(world: World) -> None:
    world.serve(_guarded("never", _json_rpc), 7000)
    entry = {"type": "http", "url": "http://127.0.0.1:7000/mcp"}
    smuggled = {**entry, "headers": {"X-Key": "a\r\nX-Evil: b"}}
    world.write("home/.claude.json", {"mcpServers": {"docs": {**entry, "headers": {"Host": "x"}}, "notes": smuggled}})
