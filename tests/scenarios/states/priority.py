"""Which of several verified candidates is chosen: by source, by a server's own order, by pin."""

from __future__ import annotations

from ..emulators import grafana, legacy_mcp, promptcraft, qdrant
from ..impostors import title_only_qdrant
from ..namespace import another_host
from ..scenario import EXTERNAL, PROJECT, USER, Table, fails, lists, selects, selects_nothing
from ..world import World

scenario = Table()

_CONFIGURATION = "root/.mcp/discovery-config.yaml"


def _three(world: World) -> None:
    """Zen MCP thrice: in the environment (7001), in the home folder (7002), in the project (7003)."""
    for port in (7001, 7002, 7003):
        world.serve(legacy_mcp("zen-mcp"), port)
    world.set(ZEN_MCP_URL="http://127.0.0.1:7001")
    _two_files(world)


def _two_files(world: World) -> None:
    for file, port in (("home/.claude.json", 7002), ("root/.mcp.json", 7003)):
        world.write(file, {"mcpServers": {"zen-mcp": {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}}})


@scenario(
    "an external deployment comes before a user's and a project's",
    selects("zen-mcp", 7001, EXTERNAL),
    lists("zen-mcp", 7002, "verified", USER),
    lists("zen-mcp", 7003, "verified", PROJECT),
)
def _(world: World) -> None:
    _three(world)


@scenario("a user's installation comes before a project's", selects("zen-mcp", 7002, USER))
def _(world: World) -> None:
    for port in (7002, 7003):
        world.serve(legacy_mcp("zen-mcp"), port)
    _two_files(world)


@scenario(
    "a dead external deployment gives way to the next",
    selects("zen-mcp", 7002, USER),
    lists("zen-mcp", 7001, "unreachable"),
)
def _(world: World) -> None:
    for port in (7002, 7003):
        world.serve(legacy_mcp("zen-mcp"), port)
    world.set(ZEN_MCP_URL="http://127.0.0.1:7001")
    _two_files(world)


@scenario("priority_order as a map replaces the default order", selects("zen-mcp", 7003, PROJECT))
def _(world: World) -> None:
    _three(world)
    world.write(
        _CONFIGURATION,
        "servers:\n  zen-mcp:\n    priority_order:\n"
        "      2: user_installation\n      1: project_configuration\n      3: external_deployment\n",
    )


@scenario("priority_order as a list replaces the default order", selects("zen-mcp", 7002, USER))
def _(world: World) -> None:
    _three(world)
    world.write(
        _CONFIGURATION, "servers:\n  zen-mcp:\n    priority_order: [user_installation, project_configuration]\n"
    )


@scenario("numbers in priority_order count as numbers, not as text", selects("zen-mcp", 7003, PROJECT))
def _(world: World) -> None:
    _three(world)
    world.write(
        _CONFIGURATION,
        "servers:\n  zen-mcp:\n    priority_order:\n      10: external_deployment\n      9: project_configuration\n",
    )


@scenario("a source that priority_order leaves out is never chosen", selects_nothing("zen-mcp"))
def _(world: World) -> None:
    _three(world)
    world.write(_CONFIGURATION, "servers:\n  zen-mcp:\n    priority_order: [docker_sidecar]\n")


@scenario("a pin to an endpoint is honoured over everything else", selects("zen-mcp", 7003))
def _(world: World) -> None:
    _three(world)
    world.configure("pin", {"zen-mcp": "http://127.0.0.1:7003/mcp"})


@scenario("a pin to an endpoint that no source knows is honoured", selects("qdrant", 7444))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.serve(qdrant(), 7444)
    world.configure("pin", {"qdrant": "http://127.0.0.1:7444"})


@scenario("a pin to a source is honoured", selects("zen-mcp", 7003, PROJECT))
def _(world: World) -> None:
    _three(world)
    world.configure("pin", {"zen-mcp": "project_configuration"})


@scenario("a pin on an impostor fails, though another could be had", fails(r"pin.*(impostor|7444)"))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.serve(title_only_qdrant(), 7444)
    world.configure("pin", {"qdrant": "http://127.0.0.1:7444"})


@scenario("a pin on a dead endpoint fails, though another could be had", fails(r"pin.*7444"))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.configure("pin", {"qdrant": "http://127.0.0.1:7444"})


@scenario("a pin to a source that has nothing fails", fails(r"pin.*user_installation"))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.configure("pin", {"qdrant": "user_installation"})


@scenario(
    "a pin of a service that does not exist is an error with its line", fails(r"Pulumi\.dev\.yaml:\d+: .*pin.*quadrant")
)
def _(world: World) -> None:
    world.configure("pin", {"quadrant": "http://127.0.0.1:7444"})


@scenario(
    "a pin to what is neither source nor endpoint is an error with its line", fails(r"Pulumi\.dev\.yaml:\d+: .*pin")
)
def _(world: World) -> None:
    world.configure("pin", {"qdrant": "somewhere"})


@scenario("a pin with a password in it is an error that does not show it", fails(r"Pulumi\.dev\.yaml:\d+: .*pin"))
def _(world: World) -> None:
    world.configure("pin", {"qdrant": f"http://user:{world.secret()}@127.0.0.1:7444"})


@scenario("a pin to the metadata service is refused before anybody asks it", fails("pin"))
def _(world: World) -> None:
    another_host("169.254.169.254")
    world.must_not_be_asked(world.serve(qdrant(), 80, "169.254.169.254"))
    world.configure("pin", {"qdrant": "http://169.254.169.254"})


@scenario(
    "another stack's configuration is not this one's", selects("qdrant", 6333), selects("grafana", 3000), stack="hybrid"
)
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.serve(grafana(), 3000)
    world.configure("pin", {"qdrant": "http://127.0.0.1:7444"}, stack="dev")


@scenario(
    "PromptCraft itself may be pinned, and proves itself by its health page",
    selects("promptcraft", 7862, version="2.3.4"),
)
def _(world: World) -> None:
    world.serve(promptcraft("2.3.4"), 7862)
    world.configure("pin", {"promptcraft": "http://127.0.0.1:7862"})


@scenario("another service with the same health page is not PromptCraft", fails(r"pin.*promptcraft"))
def _(world: World) -> None:
    world.serve(promptcraft(service="other"), 7862)
    world.configure("pin", {"promptcraft": "http://127.0.0.1:7862"})
