"""A secret goes only to who has proved what it is, and to nobody it was not meant for (docs/reliability.md, 6)."""

from __future__ import annotations

from ..emulators import legacy_mcp, qdrant
from ..impostors import locked_redis, redirector, says, title_only_qdrant, upstash, yes_man
from ..scenario import EXTERNAL, Table, lists, selects, selects_nothing
from ..servers import Server
from ..world import World

scenario = Table()


@scenario("Qdrant's key is not told to one that merely knows Qdrant's title", selects_nothing("qdrant"))
def _(world: World) -> None:
    key = world.secret()
    world.must_not_learn(world.serve(title_only_qdrant(), 6333), key)
    world.must_not_learn(world.serve(yes_man(), 7333), key)
    world.set(QDRANT_API_KEY=key, QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333")


@scenario("Qdrant's key opens the Qdrant that it was set for", selects("qdrant", 7333, EXTERNAL))
def _(world: World) -> None:
    key = world.secret()
    world.serve(qdrant(key=key), 7333)
    world.set(QDRANT_API_KEY=key, QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333")


@scenario("a wrong key for Qdrant is auth_required", selects_nothing("qdrant"), lists("qdrant", 7333, "auth_required"))
def _(world: World) -> None:
    world.serve(qdrant(key=world.secret()), 7333)
    world.set(QDRANT_API_KEY=world.secret(), QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333")


@scenario("Qdrant's key does not follow a redirect", selects_nothing("qdrant"))
def _(world: World) -> None:
    collector: Server = world.must_not_be_asked(world.serve(qdrant(), 7444))
    world.serve(redirector(f"http://127.0.0.1:{collector.port}"), 7333)
    world.set(QDRANT_API_KEY=world.secret(), QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333")


@scenario("a password meant for one Redis is not offered to another", lists("redis", 6379, "auth_required"))
def _(world: World) -> None:
    password = world.secret()
    world.must_not_learn(world.serve(locked_redis, 6379), password)
    world.set(REDIS_URL=f"redis://:{password}@127.0.0.1:7379")


@scenario("a password is not told to one that answers +PONG to everything", selects_nothing("redis"))
def _(world: World) -> None:
    password = world.secret()
    world.must_not_learn(world.serve(says(b"+PONG\r\n"), 7379), password)
    world.set(REDIS_URL=f"redis://:{password}@127.0.0.1:7379")


@scenario(
    "a password is not told to one that wants one before everything",
    lists("redis", 7379, "auth_required", EXTERNAL, reason="the configured one is kept back; use rediss://"),
    selects_nothing("redis"),
)
def _(world: World) -> None:
    password = world.secret()
    world.must_not_learn(world.serve(says(b"-NOAUTH Authentication required.\r\n" * 6), 7379), password)
    world.set(REDIS_URL=f"redis://:{password}@127.0.0.1:7379")


@scenario("Zen MCP's token is not told to strangers on the usual ports", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    token = world.secret()
    for port, talk in ((8000, legacy_mcp("weather")), (8001, legacy_mcp("zen", token="x")), (8002, yes_man())):
        world.must_not_learn(world.serve(talk, port), token)
    world.set(ZEN_MCP_TOKEN=token)


@scenario(
    "Zen MCP's token opens the server that ZEN_MCP_URL names", lists("zen-mcp", 7000, ("verified", "auth_required"))
)
def _(world: World) -> None:
    token = world.secret()
    world.serve(legacy_mcp("zen-mcp", token=token), 7000)
    world.set(ZEN_MCP_TOKEN=token, ZEN_MCP_URL="http://127.0.0.1:7000")


@scenario("a header in .mcp.json is not told to a server of another name", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    token = world.secret()
    world.must_not_learn(world.serve(legacy_mcp("weather"), 7000), token)
    headers = {"Authorization": "Bearer ${TOKEN}", "X-Api-Key": token}
    entry = {"type": "http", "url": "http://127.0.0.1:7000/mcp", "headers": headers}
    world.write("root/.mcp.json", {"mcpServers": {"zen-mcp": entry}})
    world.set(TOKEN=token)


@scenario("a header in .mcp.json does not follow a redirect", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("zen-mcp"), 7444))
    world.serve(redirector("http://127.0.0.1:7444", 307), 7000)
    entry = {"type": "http", "url": "http://127.0.0.1:7000/mcp", "headers": {"X-Api-Key": world.secret()}}
    world.write("root/.mcp.json", {"mcpServers": {"zen-mcp": entry}})


@scenario("Upstash's token does not follow a redirect", selects_nothing("redis"))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(upstash("x"), 7444))
    token = world.secret()
    world.must_not_learn(world.serve(redirector("http://127.0.0.1:7444", 307), 7380), token)
    world.set(UPSTASH_REDIS_REST_URL="http://127.0.0.1:7380", UPSTASH_REDIS_REST_TOKEN=token)


@scenario("~/.netrc is nobody's business", selects("qdrant", 6333))
def _(world: World) -> None:
    password = world.secret()
    server = world.serve(qdrant(), 6333)
    world.write(
        "home/.netrc", f"machine 127.0.0.1 login me password {password}\ndefault login me password {password}\n"
    )

    def check(_: object) -> None:
        assert b"authorization" not in server.received.lower()

    world.checks.append(check)


@scenario("the environment's proxy sees nothing of a secret", selects("qdrant", 7333))
def _(world: World) -> None:
    key = world.secret()
    proxy = world.must_not_be_asked(world.serve(yes_man(), 3128))
    world.serve(qdrant(key=key), 7333)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        world.set(**{name: f"http://127.0.0.1:{proxy.port}"})
    world.set(QDRANT_API_KEY=key, QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333")


@scenario("secrets of the whole environment stay out of the report", selects_nothing("redis", "qdrant", "grafana"))
def _(world: World) -> None:
    names = (
        "GRAFANA_PASSWORD",
        "SENTRY_AUTH_TOKEN",
        "PERPLEXITY_API_KEY",
        "UPSTASH_REDIS_REST_TOKEN",
        "AWS_SECRET_KEY",
    )
    world.set(**{name: world.secret() for name in names})
    world.set(
        REDIS_URL=f"redis://user:{world.secret()}@127.0.0.1:7379", UPSTASH_REDIS_REST_URL="https://127.0.0.1:7443"
    )
