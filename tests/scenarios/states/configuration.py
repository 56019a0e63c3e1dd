"""Configuration of ours is read strictly: `file:line: key: what is wrong; what to do`, exit 2, nothing on stdout."""

from __future__ import annotations

import os

from ..emulators import qdrant
from ..scenario import EXTERNAL, Table, fails, selects
from ..world import World

scenario = Table()


@scenario("in a folder that is nobody's project the program's own defaults count", selects("qdrant", 7333))
def _(world: World) -> None:
    world.is_named = False
    for file in ("Pulumi.yaml", "Pulumi.dev.yaml", "images/references.json"):
        (world.root / file).unlink()
    world.serve(qdrant(), 7333)
    world.write("root/.env", "QDRANT_URL=http://127.0.0.1:7333\n")


@scenario("in another project's folder the program's own defaults count", selects("qdrant", 6333))
def _(world: World) -> None:
    world.is_named = False
    (world.root / "images/references.json").unlink()
    world.serve(qdrant(), 6333)
    world.write("root/Pulumi.yaml", "name: shop\nruntime: &runtime go\nother: *runtime\nstackConfigDir: ../..\n")
    world.write("root/Pulumi.dev.yaml", "config:\n  aws:region: no\n  promptcraft-hybrid:colour: red\n")


_FILE = "root/.mcp/discovery-config.yaml"

# Lines a person might write, each with what the message about it must name; all of them in one file.
WRONG = """\
severs: {}
servers:
  zen-mcp:
    prioritory_order: [npx_cloud]
    priority_order:
      1: kubernetes
    resource_requirements:
      memory_mb: 0777
      cpu_cores: .inf
  nginx: {}
  qdrant:
    priority_order: [npx_cloud, npx_cloud]
    resource_requirements: {memory_mb: plenty}
  redis:
    priority_order: [no]
    resource_requirements: {memory_mb: 22:22}
  grafana:
    priority_order: [2026-01-01]
    resource_requirements: {memory_mb: -1}
  nginx: &anchor {}
  prometheus: *anchor
  context7:
    <<: {}
  perplexity: !secret x
  ../../etc/cron.d/x: {}
  LONG_NAME: {}
  8000: {}
resource_limits:
  total_memory_mb: true
  max_concurrent_agents: .nan
  model_limits: {g pt: 1}
""".replace("LONG_NAME", "x" * 64)

WRONG_LINES = {
    1: "severs",
    4: "prioritory_order",
    6: "kubernetes",
    8: "memory_mb",
    9: "cpu_cores",
    12: "npx_cloud",
    13: "memory_mb",
    15: "priority_order",
    16: "memory_mb",
    18: "priority_order",
    19: "memory_mb",
    20: "nginx: is given twice",
    21: "anchor",
    23: "<<",
    24: "secret",
    25: "etc",
    26: "xxx",
    27: "8000",
    29: "total_memory_mb",
    30: "max_concurrent_agents",
    31: "g pt",
}


@scenario(
    "every mistake in the discovery configuration is named with its line and key, in one go",
    *(fails(rf"discovery-config\.yaml:{line}: .*{name}") for line, name in WRONG_LINES.items()),
)
def _(world: World) -> None:
    world.write(_FILE, WRONG)


# What makes a file unreadable as a whole, and the line of it.
BROKEN = (
    ("a list for a map", "servers: [zen-mcp]\n", ":1: "),
    ("a tag that would run something", "servers: !!python/object/apply:os.system ['true']\n", ":1: "),
    ("a second document", "servers: {}\n---\nservers: {}\n", ":[123]: "),
    ("a tab", "servers:\n\tzen-mcp: {}\n", ":2: "),
    ("deep nesting", "servers: " + "[" * 3000, ":1: "),
    ("a control character", "servers:\n  zen-mcp: {} # \x1b[2J\n", ":2: "),
)

for what, text, pattern in BROKEN:

    def _start(world: World, text: str = text) -> None:
        world.write(_FILE, text)

    scenario(
        f"in the discovery configuration, {what} is an error with its line", fails(rf"discovery-config\.yaml{pattern}")
    )(_start)


@scenario("an alias bomb is an error, at once", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    rows = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    rows += [f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, 10)]
    world.write(_FILE, "\n".join(rows) + "\nservers: *a9\n")


@scenario("a discovery configuration beyond 64 KiB is an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    world.write(_FILE, "servers: {}\n" + "# padding\n" * 10_000)


@scenario(
    "a FIFO in the place of the discovery configuration is an error, at once", fails(r"discovery-config\.yaml:\d+: ")
)
def _(world: World) -> None:
    (world.root / ".mcp").mkdir()
    os.mkfifo(world.root / ".mcp/discovery-config.yaml")


@scenario("a folder in the place of the discovery configuration is an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    (world.root / ".mcp/discovery-config.yaml").mkdir(parents=True)


@scenario("a discovery configuration that is no UTF-8 is an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    world.write(_FILE, b"servers:\n  zen-mcp: {} # \xff\xfe\n")


@scenario("NUL bytes in the discovery configuration are an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    world.write(_FILE, b"servers:\0 {}\n")


@scenario("an empty discovery configuration says nothing, and is no error", selects("qdrant", 6333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.write(_FILE, "# nothing yet\n")


@scenario("configuration files as people have them are good", selects("qdrant", 6333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.write(
        _FILE,
        "servers:\n"
        "  zen-mcp:\n"
        "    priority_order:\n"
        "      1: external_deployment    # Your existing server\n"
        "      2: user_installation      # ~/dev/zen-mcp-server\n"
        "      3: docker_sidecar         # Docker container\n"
        "\n"
        "    resource_requirements:\n"
        "      memory_mb: 512\n"
        "      cpu_cores: 0.5\n"
        "  context7:\n"
        "    priority_order:\n"
        "      1: npx_cloud  # Always prefer cloud\n"
        "resource_limits:\n"
        "  total_memory_mb: 2048\n"
        "  max_concurrent_agents: 10\n"
        "  model_limits:\n"
        "    opus: 3\n"
        "    sonnet: 8\n"
        "    haiku: 15\n",
    )
    world.write(
        "root/.agents/discovery-config.yaml",
        "agents:\n"
        "  ai-engineer:\n"
        "    priority_order:\n"
        "      - project_specific   # Use project implementation\n"
        "      - user_override      # Allow user customization\n"
        "    \n"
        "    dependencies:\n"
        "      services:\n"
        '        qdrant: "192.168.1.16:6333"\n'
        '        zen_mcp: "auto_discover"\n',
    )


@scenario(
    "an unknown key in the agents' configuration is an error with its line",
    fails(r"\.agents/discovery-config\.yaml:3: .*prio"),
)
def _(world: World) -> None:
    world.write("root/.agents/discovery-config.yaml", "agents:\n  ai-engineer:\n    prio: [user_override]\n")


@scenario("a stack file with an unknown key of ours is an error", fails(r"Pulumi\.dev\.yaml:\d+: .*colour"))
def _(world: World) -> None:
    world.configure("colour", "blue")


@scenario(
    "a tool pin that is not as it was written is an error with its line",
    fails(r"pins/notes\.json:3: tools\[0\]\.more: "),
)
def _(world: World) -> None:
    tool = '{"name": "read", "description": ["Reads."], "more": 1}'
    world.write("root/pins/notes.json", f'{{"schema_version": 1,\n"server": null, "tools": [\n{tool}]}}\n')


@scenario("a tool pin that stands elsewhere is not followed", fails(r"pins/notes\.json:1: file: .*symbolic link"))
def _(world: World) -> None:
    world.write("elsewhere.json", '{"schema_version": 1, "server": null, "tools": []}')
    (world.root / "pins").mkdir()
    (world.root / "pins/notes.json").symlink_to(world.root.parent / "elsewhere.json")
