"""What a repository may say that was cloned: its `.env` and its stack files are nobody's word on this machine."""

from __future__ import annotations

from ..emulators import legacy_mcp, qdrant
from ..namespace import another_host
from ..scenario import EXTERNAL, Table, says, says_nothing, selects, selects_nothing, starts, starts_nothing
from ..world import World

scenario = Table()

_ELSEWHERE = "10.9.8.7"
_FAR = frozenset({_ELSEWHERE})
_COMMITTED = r"\.env is committed in this repository; set it in the environment, or, if you wrote \.env, run `git rm"


@scenario(
    "a .env that git tracks sends nobody beyond this machine",
    selects_nothing("qdrant", "redis", "zen-mcp", "models"),
    *(says(f"^{name}: {_COMMITTED}") for name in ("QDRANT_URL", "REDIS_URL", "ZEN_MCP_URL", "OLLAMA_HOST")),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    far = world.must_not_be_asked(world.serve(qdrant(), 7333, _ELSEWHERE))
    world.write(
        "root/.env",
        f"QDRANT_URL=http://{_ELSEWHERE}:{far.port}\nREDIS_URL=redis://:x@{_ELSEWHERE}:{far.port}\n"
        f"ZEN_MCP_URL=http://{_ELSEWHERE}:{far.port}/mcp\nOLLAMA_HOST={_ELSEWHERE}:{far.port}\n",
    )
    world.commit()


@scenario("a .env that git does not track is the operator's word", selects("qdrant", 7333, EXTERNAL, hosts=_FAR))
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.serve(qdrant(), 7333, _ELSEWHERE)
    world.commit()
    world.write("root/.env", f"QDRANT_URL=http://{_ELSEWHERE}:7333\n")


@scenario("the environment's address counts, whatever a .env that git tracks says", selects("qdrant", 7333, hosts=_FAR))
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.serve(qdrant(), 7333, _ELSEWHERE)
    world.write("root/.env", f"QDRANT_HOST=127.0.0.1\nQDRANT_PORT=1\nQDRANT_URL=http://{_ELSEWHERE}:1\n")
    world.commit()
    world.set(QDRANT_HOST=_ELSEWHERE + ":7333")


@scenario("a .env that git tracks may name this machine's own ports", selects("qdrant", 7999, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 7999)
    world.write("root/.env", "QDRANT_URL=http://localhost:7999\n")
    world.commit()


@scenario(
    "in production a .env that git tracks takes nothing",
    selects_nothing("qdrant"),
    says("nobody named it, and production takes only what is named"),
    stack="production",
)
def _(world: World) -> None:
    world.configure("environment", "production", "production")
    world.serve(qdrant(), 7999)
    world.write("root/.env", "QDRANT_URL=http://localhost:7999\n")
    world.commit()


@scenario(
    "an index that can't be read vouches for no .env",
    selects_nothing("qdrant"),
    says(r"^QDRANT_URL: \.env may be committed, for \.git/index cannot be read; set it in the environment"),
)
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.must_not_be_asked(world.serve(qdrant(), 7333, _ELSEWHERE))
    world.write("root/.env", f"QDRANT_URL=http://{_ELSEWHERE}:7333\n")
    world.commit()
    world.write("root/.git/index", b"DIRC\0\0\0\7")


_GIVEN = "TOKEN_OF_THE_PERSON"


def _docs(world: World) -> None:
    """An approved entry of the project's that names a variable, which nothing lets it have."""
    entry = {"command": "npx", "args": ["-y", "docs-mcp@1.0.0"], "env": {"TOKEN": f"${{{_GIVEN}}}"}}
    world.write("root/.mcp.json", {"mcpServers": {"docs": entry}})
    world.set(**{_GIVEN: world.secret()})
    world.configure("mcpServers", ["docs"])


@scenario("a .env of the operator's gives servers their variables", starts("docs", "docs-mcp@1.0.0", _GIVEN))
def _(world: World) -> None:
    _docs(world)
    world.write("root/.env", f"MCP_VARIABLES=docs:{_GIVEN}\n")


@scenario(
    "a .env that git tracks gives no server a variable, and names no registry",
    starts_nothing("docs"),
    says(_GIVEN),
    says(rf"^\.env:2: NPM_CONFIG_REGISTRY, MCP_VARIABLES and 2 more: not read: {_COMMITTED}"),
    says_nothing("LOG_LEVEL"),
)
def _(world: World) -> None:
    _docs(world)
    world.write(
        "root/.env",
        f"OTHER=1\nNPM_CONFIG_REGISTRY=http://{_ELSEWHERE}/\nMCP_VARIABLES=docs:{_GIVEN}\n"
        "GATEWAY_TOKENS=known-to-the-repository\nLOG_LEVEL=DEBUG\n",
    )
    world.commit()


@scenario("a .env that git tracks moves no address of the user's own files", selects("docs", 7001))
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7001, _ELSEWHERE))
    world.serve(legacy_mcp("docs"), 7001)
    entry = {"type": "http", "url": "http://${DOCS_HOST:-127.0.0.1}:7001/mcp"}
    world.write("home/.claude.json", {"mcpServers": {"docs": entry}})
    world.configure("mcpServers", ["docs"])
    world.write("root/.env", f"DOCS_HOST={_ELSEWHERE}\n")
    world.commit()


def _stack_file(world: World) -> None:
    """A stack file that approves all that its folder names, and the servers that it leads to."""
    another_host(_ELSEWHERE)
    url = f"http://{_ELSEWHERE}:7001/mcp"
    package = {"command": "npx", "args": ["-y", "evil-mcp@6.6.6"], "env": {"TOKEN": f"${{{_GIVEN}}}"}}
    world.write("root/.mcp.json", {"mcpServers": {"far": {"type": "http", "url": url}, "evil": package}})
    world.set(**{_GIVEN: world.secret()})
    approving = {
        "mcpServers": ["far", "evil"],
        "mcpVariables": {"evil": [_GIVEN]},
        "pin": {"qdrant": f"http://{_ELSEWHERE}:7333"},
        "allowHostCommands": True,
        "npmRegistry": f"http://{_ELSEWHERE}:7001/",
    }
    for key, value in approving.items():
        world.configure(key, value)


@scenario(
    "a stack file of another folder approves, pins and calls nothing",
    selects_nothing("qdrant"),
    starts_nothing("evil"),
    says("waits for approval: python -m discovery approve evil"),
    says(r"^Pulumi\.dev\.yaml:1: file: not read, because this folder is not the program's own checkout; if you have"),
)
def _(world: World) -> None:
    world.is_named = False
    _stack_file(world)
    world.must_not_be_asked(world.serve(legacy_mcp("far"), 7001, _ELSEWHERE))
    world.must_not_be_asked(world.serve(qdrant(), 7333, _ELSEWHERE))


@scenario(
    "a stack file counts in the folder that the operator names",
    selects("qdrant", 7333, hosts=_FAR),
    selects("far", 7001, hosts=_FAR),
    starts("evil", "evil-mcp@6.6.6", _GIVEN),
)
def _(world: World) -> None:
    _stack_file(world)
    world.serve(legacy_mcp("far"), 7001, _ELSEWHERE)
    world.serve(qdrant(), 7333, _ELSEWHERE)


@scenario("Pulumi is not asked for the state of another folder", selects("qdrant", 6333))
def _(world: World) -> None:
    world.is_named = False
    world.serve(qdrant(), 6333)
    asked = world.folder / "pulumi-was-asked"
    world.must_not_exist(asked)
    pulumi = world.write("programs/pulumi", f"#!/bin/sh\ntouch {asked}\n", mode=0o755)
    world.set(PATH=f"{pulumi.parent}:/usr/bin:/bin")
    world.write("home/.pulumi/credentials.json", {"current": "https://api.pulumi.com"})
    world.write("root/Pulumi.yaml", f"name: promptcraft-hybrid\nbackend: {{url: 'https://{_ELSEWHERE}'}}\n")
