"""`.env` as people have it: read as docker compose reads it, and nobody else's line ends the run."""

from __future__ import annotations

import os

from ..emulators import grafana, qdrant
from ..impostors import locked_redis
from ..namespace import another_host
from ..scenario import EXTERNAL, Table, fails, lists, lists_nothing, says, selects, selects_nothing
from ..world import World

scenario = Table()

_ELSEWHERE = "10.9.8.7"
_FAR = frozenset({_ELSEWHERE})


@scenario("a value over several lines, and quotes within quotes, are nobody's business here", selects("qdrant", 7333))
def _(world: World) -> None:
    world.serve(qdrant(), 7333)
    world.write(
        "root/.env",
        "QDRANT_HOST=127.0.0.1\nQDRANT_PORT=7333\n"
        f'TLS_CERT="-----BEGIN CERTIFICATE-----\n{world.secret()}\nQDRANT_PORT=1\n-----END CERTIFICATE-----"\n'
        f'LOGGING="{{\\"level\\": \\"debug\\", \\"key\\": \\"{world.secret()}\\"}}"\n',
    )


@scenario("a comment is no key, and so opens nothing", lists("qdrant", 7333, "auth_required", reason="set QDRANT_API"))
def _(world: World) -> None:
    key = "# the key of our Qdrant"
    world.must_not_learn(world.serve(qdrant(key=world.secret()), 7333), key)
    world.write("root/.env", f"QDRANT_HOST=127.0.0.1\nQDRANT_PORT=7333\nQDRANT_API_KEY=   {key}\nGATEWAY_TOKENS= # x\n")


@scenario("an address may be made of other lines", selects("qdrant", 7333), selects("grafana", 7030))
def _(world: World) -> None:
    world.serve(qdrant(), 7333)
    world.serve(grafana(), 7030)
    world.write(
        "root/.env",
        "HOST_IP=127.0.0.1\nQDRANT_HOST=${HOST_IP}\nQDRANT_PORT=${PORT:-7333}\nGRAFANA_URL=http://$HOST_IP:7030\n",
    )


@scenario("a password in an address may be another line's", selects("redis", 7379, EXTERNAL))
def _(world: World) -> None:
    password = world.secret()
    world.redis(7379, "--requirepass", password)
    world.write("root/.env", f"SECRET={password}\nREDIS_URL=redis://:${{SECRET}}@127.0.0.1:7379/0\n")


@scenario(
    "a password in an address on this machine may be the environment's",
    selects("redis", 7379, EXTERNAL),
)
def _(world: World) -> None:
    password = world.secret()
    world.redis(7379, "--requirepass", password)
    world.set(SECRET=password)
    world.write("root/.env", "REDIS_URL=redis://:${SECRET}@127.0.0.1:7379/0\n")


@scenario(
    "what is not set is named, and nothing stands for it",
    says(r"\.env:1: REDIS_URL: REDIS_SECRET is not set, and counts as empty; set it"),
    lists("redis", 7379, "auth_required"),
)
def _(world: World) -> None:
    world.must_not_learn(world.serve(locked_redis, 7379), "REDIS_SECRET")
    world.write("root/.env", "REDIS_URL=redis://:${REDIS_SECRET}@127.0.0.1:7379\n")


@scenario(
    "a .env carries no variable of this machine to another one",
    says(r"QDRANT_HOST: \.env would carry TOKEN of this machine's environment elsewhere"),
    says(r"GRAFANA_URL: \.env would carry TOKEN"),
    says(r"REDIS_URL: \.env would carry TOKEN"),
    selects_nothing("qdrant", "grafana", "redis"),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.set(TOKEN=world.secret())
    for port in (6333, 7030, 7379):
        world.must_not_be_asked(world.serve(qdrant(), port, _ELSEWHERE))
    world.write(
        "root/.env",
        f"OWN=$TOKEN\nQDRANT_HOST={_ELSEWHERE}\nQDRANT_API_KEY=${{OWN}}\n"
        f"GRAFANA_URL=http://{_ELSEWHERE}:7030/${{TOKEN}}\nREDIS_URL=redis://:$TOKEN@{_ELSEWHERE}:7379\n",
    )


@scenario("an address of the environment's betrays nothing", selects("qdrant", 7333, hosts=_FAR))
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.serve(qdrant(), 7333, _ELSEWHERE)
    world.set(OUR_HOST=_ELSEWHERE, OUR_PORT="7333")
    world.write("root/.env", "QDRANT_HOST=${OUR_HOST}\nQDRANT_PORT=${OUR_PORT}\n")


@scenario(
    "a line that can't be read and that nobody needs is a warning that does not repeat it",
    selects("qdrant", 6333),
    says(r"\.env:2: \?: a line of \d+ characters is not NAME=value"),
    says(r"\.env:3: OTHER: its quotes are not closed"),
    says(r"\.env:4: THEIRS: names no variable between"),
    says(r"\.env:5: LATIN: is not UTF-8"),
)
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    lines = f"QDRANT_HOST=127.0.0.1\nthis is {world.secret()} nothing\nOTHER='{world.secret()}\nTHEIRS=${{a b}}\n"
    world.write("root/.env", lines.encode() + b"LATIN=caf\xe9\n# caf\xe9\n")


@scenario(
    "a line that can't be read and that is needed is an error that does not repeat it",
    fails(r"^\.env:1: QDRANT_API_KEY: its quotes are not closed; .*\n\.env:2: REDIS_PASSWORD: needs NOBODY, which is"),
)
def _(world: World) -> None:
    world.write("root/.env", f'QDRANT_API_KEY="{world.secret()}\nREDIS_PASSWORD=${{NOBODY:?{world.secret()}}}\n')


@scenario("a line that can't be read is needed no more where the environment says it", selects("qdrant", 6333))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.write("root/.env", "QDRANT_HOST='127.0.0.1\n")
    world.set(QDRANT_HOST="127.0.0.1")


@scenario("a .env names neither the engine nor where the locks are", lists_nothing("zen-mcp", 7000))
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(qdrant(), 2375))
    world.must_not_be_asked(world.serve(qdrant(), 7000))
    world.lock("zen-mcp", 7000, os.getpid()).rename(world.root / ".mcp-zen-mcp.lock")
    world.unset("MCP_LOCK_DIR")
    world.write("root/.env", f"DOCKER_HOST=tcp://127.0.0.1:2375\nMCP_LOCK_DIR={world.root}\n")


def _masked(variable: str, value: str) -> None:
    def start(world: World) -> None:
        world.set(**{variable: value.replace("SECRET", world.secret())})

    scenario(f"a login in {variable} ({value}) is refused, and not shown", fails(rf"environment: {variable}: "))(start)


_masked("NPM_CONFIG_REGISTRY", "https://ci:SECRET@npm.example.com/repository/")
_masked("NPM_CONFIG_REGISTRY", "npm.example.com/?token=SECRET")
_masked("UV_DEFAULT_INDEX", "https://SECRET@python.example.com/simple")
_masked("UV_DEFAULT_INDEX", "https://aws:SEC/RET:SECRET@python.example.com/simple?x")
_masked("LOG_LEVEL", "https://ci:SECRET@example.com/")
